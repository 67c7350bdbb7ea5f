"""Real processes, started on their own and ended by pid."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]


class Program(Protocol):
    """What is used of `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code; subprocess.TimeoutExpired if it runs on, after seconds."""


class Process:
    """A child in a session of its own, so that a signal reaches all that it started."""

    def __init__(self, *command: str, env: dict[str, str], log: Path) -> None:
        self.log = log
        self._popen = self._begin(command, env)
        self.pid = self._popen.pid

    def _begin(self, command: Sequence[str], env: dict[str, str]) -> Program:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                command, env=env, stdout=output, stderr=output, start_new_session=True
            )

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def wait(self, timeout_seconds: float = 20.0) -> int:
        return self._popen.wait(timeout_seconds)

    def stop(self) -> int:
        """End it as a supervisor does: TERM, and KILL when that takes too long."""
        if self.is_running():
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._popen.wait()
