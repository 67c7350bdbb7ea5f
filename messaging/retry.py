"""When to try a message again: a pure function from the attempts made to the next delay."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from messaging.envelope import MessagePriority


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how far apart, a failing message is tried.

    Attempts come in rounds: ``immediate`` attempts in place, then a pause, then the next round.
    There are ``delayed`` rounds after the first, so at most ``immediate * (delayed + 1)``
    attempts in all.
    """

    #: Attempts in place in each round, the first one included; at least 1.
    immediate: int = 3
    #: Rounds after the first; None: for ever.
    delayed: int | None = 3
    #: Longest pause before the second round; it grows by ``factor`` with each round.
    base_seconds: float = 10.0
    #: So many times as long is the longest pause with each round.
    factor: float = 6.0
    #: No pause is longer than this.
    cap_seconds: float = 300.0
    #: No pause is shorter than this, so that a broken dependency is never hammered.
    floor_seconds: float = 1.0
    #: Exceptions that trying again does not cure: the message is parked at once.
    give_up_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if self.immediate < 1 or (self.delayed is not None and self.delayed < 0):
            raise ValueError("a policy has at least 1 immediate attempt and 0 delayed rounds")
        if not 0 <= self.floor_seconds <= self.base_seconds <= self.cap_seconds:
            raise ValueError("expected 0 <= floor_seconds <= base_seconds <= cap_seconds")

    def for_ever(self) -> "RetryPolicy":
        """Return this policy without an end."""
        return self if self.delayed is None else replace(self, delayed=None)

    @property
    def most(self) -> int | None:
        """Attempts in all; None: without end."""
        return None if self.delayed is None else self.immediate * (self.delayed + 1)

    def round_of(self, attempt: int) -> int:
        """Return which round this attempt belongs to: 0 is the first."""
        return (attempt - 1) // self.immediate

    def ends_round(self, attempt: int) -> bool:
        """Return whether a failure of this attempt ends its round."""
        return attempt % self.immediate == 0

    def delay_after(
        self, attempt: int, uniform: Callable[[float, float], float] = random.uniform
    ) -> float | None:
        """Return the pause after the last attempt of a round; None when it was the last round.

        Full jitter: anything between the floor and the grown pause, so that messages which
        failed together do not come back together.
        Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        rounds = self.round_of(attempt)
        if self.delayed is not None and rounds >= self.delayed:
            return None
        # The exponent is bounded: "for ever" must not end in an OverflowError.
        longest = min(self.cap_seconds, self.base_seconds * self.factor ** min(rounds, 64))
        return uniform(self.floor_seconds, max(self.floor_seconds, longest))


#: What holds where a handler names no policy of its own.
DEFAULT_POLICIES: Final = {
    MessagePriority.LOW: RetryPolicy(immediate=1, delayed=1),
    MessagePriority.NORMAL: RetryPolicy(immediate=3, delayed=3),
    MessagePriority.HIGH: RetryPolicy(immediate=3, delayed=6),
    MessagePriority.CRITICAL: RetryPolicy(immediate=3, delayed=None),
}
