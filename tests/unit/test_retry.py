import pytest

from messaging.envelope import MessagePriority
from messaging.retry import DEFAULT_POLICIES, RetryPolicy


def longest(_low: float, high: float) -> float:
    return high


def ladder(policy: RetryPolicy, attempts: int) -> list[float | None]:
    return [policy.delay_after(n, longest) for n in range(1, attempts + 1) if policy.ends_round(n)]


def test_three_rounds_of_three_follow_the_first() -> None:
    policy = RetryPolicy(immediate=3, delayed=3)
    assert ladder(policy, 12) == [10.0, 60.0, 300.0, None]
    assert [policy.round_of(n) for n in (1, 3, 4, 12)] == [0, 0, 1, 3]


def test_for_ever_is_capped_and_never_ends() -> None:
    policy = DEFAULT_POLICIES[MessagePriority.CRITICAL]
    assert policy.delay_after(3 * 10_000, longest) == 300.0


def test_pauses_are_jittered_between_the_floor_and_the_grown_pause() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    assert RetryPolicy(immediate=1).delay_after(2, uniform) == 1.0
    assert asked == [(1.0, 60.0)]


@pytest.mark.parametrize(
    "wrong",
    [{"immediate": 0}, {"delayed": -1}, {"floor_seconds": 20.0}, {"cap_seconds": 5.0}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected|at least"):
        RetryPolicy(**wrong)  # type: ignore[arg-type] # durations and counts in one table
