"""After the broker was away: time for its subscribers to bind again.

A server that comes back may have lost its bindings with all else, and takes a broadcast that no
queue is bound for like any other. Nobody can see that in its confirm. So what goes to whoever is
bound waits for `REBIND_SECONDS` after a connection broke and was made anew; what goes to a queue
by name does not.
"""

import threading
from collections.abc import Callable
from typing import Final

from messaging.errors import BrokerRecovering

#: A relay looks every 5 s whether the broker has what it had, every 2 s while it is away, and
#: binds the queue of its worker; connecting takes it part of the rest.
REBIND_SECONDS: Final = 10.0


class Rebinding:
    """What the connections of one process know of it together. Thread-safe.

    Args:
        monotonic: the clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._is_away = False
        #: When the first connection was made after the last break.
        self._back_at = float("-inf")

    def broke(self, opened_at: float | None) -> None:
        """Note a connection that broke, or could not be made.

        Args:
            opened_at: when it was made; None: never. One from before the last break may have
                broken with it and be seen only now: that is no news.
        """
        with self._lock:
            if opened_at is None or opened_at >= self._back_at:
                self._is_away = True

    def connected(self) -> None:
        """Note that a connection was made: after a break, time begins to run."""
        with self._lock:
            if self._is_away:
                self._is_away = False
                self._back_at = self._monotonic()

    def check(self) -> None:
        """Raise BrokerRecovering if subscribers may not be bound yet. Costs 0.1 us."""
        left = self._back_at + REBIND_SECONDS - self._monotonic()
        if left > 0:
            raise BrokerRecovering(
                f"the broker was away: subscribers have {left:.1f} s more to bind again"
            )
