"""``manage.py bus_conformance --broker URL``: hold a broker of your own to the guarantees."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from gateway_app.commands import BusCommand, table
from messaging.brokers import profile_for

#: pytest's exit codes of a run that came to its end: all passed, some failed.
_COMPLETE = (0, 1)


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
        profile_for(options["broker"])  # wrong input is told at once
        promises = _run_suite(options["broker"])
        broken = sorted(promise for promise, failed in promises.items() if failed)
        if options["json"]:
            self.print_json(promises)
        else:
            rows = [("kept", p) if not promises[p] else ("BROKEN", p) for p in sorted(promises)]
            self.stdout.write(table([("", "PROMISE"), *rows]))
        if broken:
            raise CommandError(f"{len(broken)} of {len(promises)} promises are broken")


def _run_suite(url: str) -> dict[str, list[str]]:
    """Return the failed tests of each promise."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "promises.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "tests/conformance", "-q", "-n", "4"),
                *("--broker-url", url, "--promises", str(report)),
                # What a driver warns of is no broken promise.
                *("-W", "default"),
                *("--basetemp", str(Path(folder) / "tests"), "-p", "no:cacheprovider"),
            ],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in _COMPLETE or not report.exists():
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise CommandError(f"the suite did not run: {' '.join(lines[-3:])}")
        found: dict[str, list[str]] = json.loads(report.read_text())
        return found
