"""The only polling in the tests."""

from collections.abc import Callable
from typing import Final, TypeVar

from messaging.clock import SYSTEM_CLOCK

T = TypeVar("T")


#: A look costs others this share of the time at most: those that are waited for need the machine.
SHARE: Final = 0.2


def eventually(predicate: Callable[[], T], timeout_seconds: float = 15.0, what: str = "") -> T:
    """Return the first true answer of the predicate; fail when none comes in time."""
    ends_at = SYSTEM_CLOCK.monotonic() + timeout_seconds
    while True:
        began = SYSTEM_CLOCK.monotonic()
        answer = predicate()
        if answer:
            return answer
        now = SYSTEM_CLOCK.monotonic()
        if now > ends_at:
            raise AssertionError(f"not within {timeout_seconds:g} s: {what or predicate}")
        SYSTEM_CLOCK.sleep(min(max(0.01, (now - began) / SHARE), 1.0))
