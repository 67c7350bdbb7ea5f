"""Leases of others under a wall clock that jumps."""

from datetime import UTC, datetime, timedelta

from messaging.custody.lease_clock import LeaseClock

LEASE_SECONDS = 30.0
HOUR = 3600.0


class Clock:
    """Both clocks, and a jump of the wall's."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.jump = 0.0

    def now(self) -> float:
        return 1_800_000_000.0 + self.passed + self.jump

    def monotonic(self) -> float:
        return 500.0 + self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


def test_a_jump_ahead_is_not_believed_before_a_lease_has_passed() -> None:
    clock = Clock()
    leases = LeaseClock(LEASE_SECONDS, clock)
    began = leases.now()
    assert began == datetime.fromtimestamp(clock.now(), UTC)
    clock.jump = HOUR
    for passed in (0.0, 10.0, 29.0):
        clock.passed = passed
        assert leases.now() == began + timedelta(seconds=passed)
    clock.passed = 31.0
    assert leases.now() == began + timedelta(seconds=31 + HOUR)


def test_a_jump_that_is_taken_back_never_was() -> None:
    clock = Clock()
    leases = LeaseClock(LEASE_SECONDS, clock)
    began = leases.now()
    clock.jump, clock.passed = HOUR, 10.0
    leases.now()
    clock.jump, clock.passed = 0.0, 20.0
    assert leases.now() == began + timedelta(seconds=20)
    clock.jump, clock.passed = HOUR, 40.0  # another one, with its own time
    assert leases.now() == began + timedelta(seconds=40)


def test_a_jump_back_and_small_corrections_are_believed_at_once() -> None:
    clock = Clock()
    leases = LeaseClock(LEASE_SECONDS, clock)
    began = leases.now()
    clock.jump = -HOUR
    assert leases.now() == began - timedelta(seconds=HOUR)
    clock.jump += 1.5
    assert leases.now() == began - timedelta(seconds=HOUR - 1.5)
