"""The one place that reads real time, so that tests can move it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol


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


class BusClock:
    """What messages are dated by, and what custody times its work by.

    The host's clock, until tests put their own in its place. What paces threads, and what many
    processes must agree on (leases of the embedded broker), reads `SYSTEM_CLOCK` instead.
    """

    #: Attributes, not methods: the host's own functions, without a call in between.
    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    #: The present instant, aware, in UTC.
    utc_now: Callable[[], datetime]

    def __init__(self) -> None:
        self.now, self.monotonic, self.sleep = time.time, time.monotonic, time.sleep
        self.utc_now = partial(datetime.now, UTC)

    @contextmanager
    def following(self, clock: Clock) -> Iterator[None]:
        """Tell the time of another clock within the block, on all threads of this process."""
        before = dict(vars(self))
        self.now, self.monotonic, self.sleep = clock.now, clock.monotonic, clock.sleep
        self.utc_now = lambda: datetime.fromtimestamp(clock.now(), UTC)
        try:
            yield
        finally:
            vars(self).update(before)


BUS_CLOCK: Final = BusClock()
