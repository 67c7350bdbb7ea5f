"""The one place that reads real time, so that tests can move it."""

import time
from datetime import UTC, datetime
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


SYSTEM_CLOCK = SystemClock()


def to_datetime(seconds: float) -> datetime:
    """Return seconds since 1970 as an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def isoformat(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 text in UTC, to the microsecond, ending in Z."""
    return to_datetime(seconds).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def from_isoformat(text: str) -> float:
    """Return seconds since 1970 for ISO 8601 text that names its offset.

    Raises:
        ValueError: not ISO 8601, or without an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no offset from UTC")
    return moment.timestamp()
