"""Processes of the fault tests: started, read line by line, and ended by id."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Process:
    """A Python module in a process of its own, in its own process group."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._text = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self, timeout_seconds: float = 20) -> str:
        """Return the next line it prints; "" at its end."""
        while b"\n" not in self._text:
            if not select.select([self._stdout], [], [], timeout_seconds)[0]:
                raise TimeoutError(f"no line in time; so far {self._text!r}")
            if not (chunk := self._stdout.read(65536)):
                return ""
            self._text += chunk
        line, self._text = self._text.split(b"\n", 1)
        return line.decode()

    def facts(self) -> dict:
        """Return the next line as JSON."""
        return json.loads(self.line())

    def tell(self) -> None:
        """Send a line."""
        self._stdin.write(b"\n")

    def signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        os.kill(self.pid, number)

    def rest(self) -> list[str]:
        """Wait for its end; return the lines it printed meanwhile."""
        self._process.wait(30)
        return (self._text + (self._stdout.read() or b"")).decode().split()

    def end(self) -> None:
        """Kill what is left of it and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(30)
        self._stdin.close()
        self._stdout.close()
