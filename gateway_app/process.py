"""One process of the stack: started in a session of its own, logging to a file, ended by pid."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from gateway_app.procfile import ProcfileEntry

#: Read from the end of a log file for its last lines.
_TAIL_BYTES: Final = 16_384
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ManagedProcess:
    """A process from the Procfile.

    Its own session keeps the terminal's Ctrl-C from it: whoever started it decides when it ends.
    """

    def __init__(self, entry: ProcfileEntry, log_file: Path) -> None:
        self.name = entry.name
        self.entry = entry
        self.log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._is_group_ended = False

    @property
    def pid(self) -> int | None:
        """The pid, also after the end; None before the start."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """How it ended (minus the signal that killed it); None while it runs or never started."""
        return self._process.poll() if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(
        self, environment: Mapping[str, str], directory: Path, inherited_files: Iterable[int] = ()
    ) -> None:
        """Start it, or start it again; its output is added to the log file.

        Args:
            environment: all of it.
            directory: where it runs.
            inherited_files: descriptors that stay open in it.
        """
        self._is_group_ended = False
        with held_signals(), self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                # `exec`: the pid is the process's own, not that of a shell around it.
                ["/bin/sh", "-c", f"exec {self.entry.command}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=environment,
                start_new_session=True,
                pass_fds=tuple(inherited_files),
            )

    def terminate(self) -> None:
        """Ask it to end; the children of a prefork pool are told by their parent."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once, with everything it started. Idempotent."""
        if self._process is None or self._is_group_ended:
            return
        # The group outlives its first process while a child lives; once it is empty the number
        # may come to belong to somebody else.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._is_group_ended = True

    def log_tail(self, lines: int = 12) -> str:
        """Return the last lines of its log."""
        with self.log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
        return "\n".join(text.rstrip().splitlines()[-lines:])


def child_environment(**values: str) -> dict[str, str]:
    """Return this process's environment with some values set, and its own programs found first."""
    programs = str(Path(sys.executable).parent)
    inherited = dict(os.environ)
    return {
        **inherited,
        "PATH": f"{programs}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        # What a child writes is in its log when it is looked at, not when a buffer is full.
        "PYTHONUNBUFFERED": "1",
        # Django's system checks ran before this; in each worker they are a fifth of its start.
        "CELERY_SKIP_CHECKS": "true",
        **values,
    }


@contextmanager
def held_signals() -> Iterator[None]:
    """Have Ctrl-C and TERM wait for the end of the block.

    An exception between the start of a process and the note of its pid would leave it behind.
    Main thread only.
    """
    received: list[int] = []

    def hold(number: int, _frame: Any) -> None:
        received.append(number)

    previous = {number: signal.signal(number, hold) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


class _Stopping:
    """How often somebody asked this process to stop."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _number: int, _frame: Any) -> None:
        self.count += 1
        # Once only: a shell signals a whole group and make passes it on, so a second one comes
        # in the middle of the clean-up that the first has begun.
        if self.count == 1:
            raise KeyboardInterrupt


_stopping = _Stopping()


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt if somebody has asked to stop, and this goes on all the same.

    What a signal raises is lost where it meets code that swallows exceptions, such as a callback
    of the garbage collector; loops that wait for it say this as well.
    """
    if _stopping.count:
        raise KeyboardInterrupt


def is_asked_again() -> bool:
    """Return whether somebody asked a second time to stop."""
    return _stopping.count > 1


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Have TERM, and the end of the terminal, raise `KeyboardInterrupt` as Ctrl-C does.

    So that blocks are left in order. Only the first one does; see `is_asked_again`. A shell starts
    background jobs with Ctrl-C ignored; here it always counts.
    """
    _stopping.count = 0
    previous = {number: signal.signal(number, _stopping) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        _stopping.count = 0
        for number, handler in previous.items():
            signal.signal(number, handler)
