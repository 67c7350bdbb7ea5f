"""A circuit breaker: who fails again and again is left alone for a while, then tried once.

Not thread-safe: the HTTP server works on one event loop.
"""

from dataclasses import dataclass
from enum import Enum


class BreakerState(Enum):
    """What a breaker lets through."""

    CLOSED = "closed"
    OPEN = "open"
    #: One attempt is under way, to find out.
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Breaker:
    """Counts failures in a row. All instants are monotonic seconds.

    Attributes:
        failures: so many in a row open it.
        open_seconds: how long it then lets nothing through.
    """

    failures: int
    open_seconds: float
    state: BreakerState = BreakerState.CLOSED
    _failed: int = 0
    _opened_at: float = 0.0

    def allows(self, now: float) -> bool:
        """Return whether an attempt may be made now."""
        if self.state is BreakerState.CLOSED:
            return True
        return self.state is BreakerState.OPEN and self.seconds_left(now) <= 0

    def seconds_left(self, now: float) -> float:
        """Return how long until the next attempt may be made; 0: at once."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        return max(0.0, self._opened_at + self.open_seconds - now)

    def begin(self) -> bool:
        """Note an attempt; return whether it is the one to find out, and alone until it has."""
        if self.state is not BreakerState.OPEN:
            return False
        self.state = BreakerState.HALF_OPEN
        return True

    def answered(self) -> None:
        """Note the head of an answer: others may try again, but one more failure opens it."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.CLOSED
            self._failed = self.failures - 1

    def succeeded(self) -> None:
        """Note that an attempt went well to its end."""
        self.state = BreakerState.CLOSED
        self._failed = 0

    def failed(self, now: float) -> None:
        """Note a failure; open after too many in a row, or if it was the one to find out."""
        self._failed += 1
        if self.state is BreakerState.HALF_OPEN or self._failed >= self.failures:
            self.state = BreakerState.OPEN
            self._opened_at = now

    def gave_up(self) -> None:
        """Note that the attempt to find out ended without a word: its client went away."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN  # its pause is over: the next one finds out
