"""The only polling in the tests."""

from collections.abc import Callable
from typing import TypeVar

from messaging.clock import SYSTEM_CLOCK

T = TypeVar("T")


def eventually(predicate: Callable[[], T], timeout_seconds: float = 15.0, what: str = "") -> T:
    """Return the first true answer of the predicate; fail when none comes in time."""
    ends_at = SYSTEM_CLOCK.monotonic() + timeout_seconds
    while True:
        answer = predicate()
        if answer:
            return answer
        if SYSTEM_CLOCK.monotonic() > ends_at:
            raise AssertionError(f"not within {timeout_seconds:g} s: {what or predicate}")
        SYSTEM_CLOCK.sleep(0.01)
