"""What is dear to read, read seldom enough to cost next to nothing, and shared by all who look."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from django.db import connection

from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now

logger = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

#: At most this share of one core, and of the database, goes into reading one thing. With SQLite
#: the reading thread does all of the work, and its CPU time is the cost, however long it had to
#: wait for its turn; a server works elsewhere, and the time that it takes is the cost.
SHARE: Final = 0.02
#: How long the first who asks waits for an answer before the page is shown without it.
FIRST_SECONDS: Final = 0.25
#: One reading that takes so long, after others that did not, is not held against what is read: the
#: first one after a start loads code, and anybody waits for a lock now and then.
FORGIVEN_SECONDS: Final = 1.0

_threads = ThreadPoolExecutor(2, thread_name_prefix="ops-paced")


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What was read, and when."""

    value: T
    at: datetime


class Paced(Generic[T]):
    """A value that is read again when somebody asks, if the last time is long enough ago.

    Nobody asks: nothing is read. Thread-safe.

    Args:
        read: reads it; may take seconds.
        least_seconds: it is not read more often than this, however cheap.
    """

    def __init__(self, read: Callable[[], T], least_seconds: float) -> None:
        self._read = read
        self._least_seconds = least_seconds
        self._lock = threading.Lock()
        self._reading: Future[None] | None = None
        self._known: Reading[T] | None = None
        self._next_at = 0.0
        #: Whether what is being read may be of before `forget`.
        self._is_outdated = False
        #: What the last reading took.
        self._took = 0.0

    def get(self) -> Reading[T] | None:
        """Return what was read last; None: nothing yet, it is being read for the first time."""
        with self._lock:
            if self._reading is None and SYSTEM_CLOCK.monotonic() >= self._next_at:
                self._reading = _threads.submit(self._read_again)
            waits_for = self._reading if self._known is None else None
        if waits_for is not None:
            try:
                waits_for.result(FIRST_SECONDS)
            except NotYet:
                return None
        return self._known

    def forget(self) -> None:
        """Have it read again when somebody asks next, also if it is being read just now."""
        with self._lock:
            self._next_at = 0.0
            self._is_outdated = self._reading is not None

    def _read_again(self) -> None:
        began, worked = SYSTEM_CLOCK.monotonic(), SYSTEM_CLOCK.thread_cpu()
        at = utc_now()
        try:
            self._known = Reading(self._read(), at)
        except Exception:
            # What is known stays, with its instant, which the page shows.
            logger.exception("%s could not be read", self._read.__qualname__)
            connection.close()
        finally:
            took = SYSTEM_CLOCK.monotonic() - began
            if connection.vendor == "sqlite":
                took = SYSTEM_CLOCK.thread_cpu() - worked
            with self._lock:
                self._reading = None
                is_forgiven = took <= FORGIVEN_SECONDS
                cost = min(took, self._took if is_forgiven else max(self._took, FORGIVEN_SECONDS))
                self._took = took
                if not self._is_outdated:
                    self._next_at = began + max(self._least_seconds, cost / SHARE)
                self._is_outdated = False


class PacedBy(Generic[K, T]):
    """The same for a value that depends on what is asked; of each one that was asked lately.

    Args:
        read: reads it for a key.
        least_seconds: it is not read more often than this for one key.
    """

    #: Keys that are remembered.
    MOST: Final = 64

    def __init__(self, read: Callable[[K], T], least_seconds: float) -> None:
        self._read = read
        self._least_seconds = least_seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[K, Paced[T]] = OrderedDict()

    def get(self, key: K) -> T | None:
        """Return what was read last for a key; None: nothing yet."""
        with self._lock:
            paced = self._known.get(key)
            if paced is None:
                paced = self._known[key] = Paced(lambda: self._read(key), self._least_seconds)
            self._known.move_to_end(key)
            while len(self._known) > self.MOST:
                self._known.popitem(last=False)
        reading = paced.get()
        return reading.value if reading else None

    def forget(self) -> None:
        """Forget everything: what was read is not so any more."""
        with self._lock:
            self._known.clear()
