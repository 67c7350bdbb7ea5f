"""When an event may go to whoever is bound, by the clock."""

import pytest

from messaging.errors import BrokerRecovering
from messaging.rebinding import REBIND_SECONDS, Rebinding


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rebinding(clock: Clock) -> Rebinding:
    return Rebinding(clock)


def is_waited_for(rebinding: Rebinding) -> bool:
    try:
        rebinding.check()
    except BrokerRecovering:
        return True
    return False


def test_the_first_connection_of_a_process_is_used_at_once(rebinding: Rebinding) -> None:
    rebinding.connected()
    assert not is_waited_for(rebinding)


@pytest.mark.parametrize("opened_at", [None, 990.0])
def test_after_a_break_time_runs_from_the_next_connection_on(
    rebinding: Rebinding, clock: Clock, opened_at: float | None
) -> None:
    rebinding.broke(opened_at)
    clock.now += 60  # it is away
    rebinding.connected()
    assert is_waited_for(rebinding)
    clock.now += REBIND_SECONDS - 0.1
    rebinding.connected()  # one more
    assert is_waited_for(rebinding)
    clock.now += 0.1
    assert not is_waited_for(rebinding)


def test_connections_that_broke_together_are_one_break(rebinding: Rebinding, clock: Clock) -> None:
    first = second = clock.now
    clock.now += 5
    rebinding.broke(first)
    rebinding.connected()
    clock.now += 3600
    rebinding.broke(second)  # it was not used meanwhile
    rebinding.connected()
    assert not is_waited_for(rebinding)


def test_a_second_break_counts_anew(rebinding: Rebinding, clock: Clock) -> None:
    rebinding.broke(None)
    rebinding.connected()
    opened_at = clock.now
    clock.now += 3600
    rebinding.broke(opened_at)
    rebinding.connected()
    assert is_waited_for(rebinding)
