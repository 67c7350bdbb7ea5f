"""``manage.py bus_conformance --broker URL``: hold a broker of your own to the guarantees."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from gateway_app.commands import BusCommand, table
from gateway_app.preconditions import require_broker
from gateway_app.process import held_signals, stopped_by_signals
from gateway_app.stack import StackError
from messaging import MessageBus, MessagingConfig
from messaging.brokers import profile_for, shown

#: pytest's exit codes of a run that came to its end: all passed, some failed.
_COMPLETE: Final = (0, 1)
#: For tests in hand to end what they have started.
_STOP_SECONDS: Final = 20.0


class Command(BusCommand):
    """Runs the conformance suite on one broker and prints which promises it keeps."""

    help = (
        "Run the conformance suite, with real workers and real kills, on a broker, and print "
        "which promises it keeps. Uses names of its own there and removes them. Takes a minute; "
        "longer where promises are broken. Exit code 1 if any is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the broker."""
        parser.add_argument("--broker", required=True, metavar="URL", help="any URL of kombu's")
        parser.add_argument("--json", action="store_true", help="print only JSON")

    def run(self, options: dict[str, Any]) -> None:
        """Run it."""
        _require(options["broker"])  # wrong input is told at once
        promises = _run_suite(options["broker"])
        broken = sorted(promise for promise, failed in promises.items() if failed)
        if options["json"]:
            self.print_json(promises)
        else:
            rows = [("kept", p) if not promises[p] else ("BROKEN", p) for p in sorted(promises)]
            self.stdout.write(table([("", "PROMISE"), *rows]))
        if broken:
            raise CommandError(f"{len(broken)} of {len(promises)} promises are broken")


def _require(url: str) -> None:
    """Make sure that a broker answers and lets this in, by one connection.

    Else each promise would be told as broken, after minutes.

    Raises:
        ValueError, ConfigurationError: it does not.
    """
    profile_for(url)
    try:
        require_broker(MessageBus(MessagingConfig(broker_url=url)))
    except (StackError, ImportError) as exc:  # no answer, or no driver for it
        raise ValueError(str(exc)) from exc
    except (NameError, TypeError) as exc:  # so some of kombu's transports miss their driver
        raise ValueError(
            f"kombu cannot use {shown(url)}, its driver may be missing: {exc}"
        ) from exc


def _run_suite(url: str) -> dict[str, list[str]]:
    """Return the failed tests of each promise."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "promises.json"
        code, output = _run(
            *(sys.executable, "-m", "pytest", "tests/conformance", "-q", "-n", "4"),
            *("--broker-url", url, "--promises", str(report)),
            # What a driver warns of is no broken promise.
            *("-W", "default"),
            *("--basetemp", str(Path(folder) / "tests"), "-p", "no:cacheprovider"),
        )
        if code not in _COMPLETE or not report.exists():
            lines = output.strip().splitlines()
            raise CommandError(f"the suite did not run: {' '.join(lines[-3:])}")
        found: dict[str, list[str]] = json.loads(report.read_text())
        return found


def _run(*command: str) -> tuple[int, str]:
    """Run a program; return its exit code and output. It ends, with its group, when this does."""
    with stopped_by_signals():
        with held_signals():
            child = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        try:
            output, _ = child.communicate()
        finally:
            _end(child)
    return child.returncode, output


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        # As Ctrl-C does: the tests end the workers, which are in sessions of their own.
        os.killpg(child.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
