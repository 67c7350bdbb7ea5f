"""The one place that reads real time, so that tests can move it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Time as an input: wall time for instants, monotonic time for durations."""

    def now(self) -> float:
        """Return the wall time in seconds since 1970 (UTC)."""

    def monotonic(self) -> float:
        """Return seconds that never jump; only differences mean something."""

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for that many seconds."""


class SystemClock:
    """The real clock of this host."""

    def now(self) -> float:
        """Return the wall time in seconds since 1970 (UTC)."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump; the same for all processes of one Linux host."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for that many seconds."""
        time.sleep(seconds)

    def thread_cpu(self) -> float:
        """Return the CPU seconds that the calling thread has had; differences mean something."""
        return time.thread_time()


SYSTEM_CLOCK = SystemClock()
