"""Who counts as wedged, by what heartbeats say in look after look."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from gateway_app.health import wedged
from gateway_app.health.load import Load
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db
NOW = utc_now()


class Round:
    """Looks, one every 30 s, at the one instance of a service."""

    def __init__(self) -> None:
        self.number = 0
        self.asked: list[str] = []

    def look(
        self,
        consumed: int,
        *,
        waiting: int | None = 7,
        busy: int = 0,
        oldest_seconds: float = 0.0,
        overdue: int = 0,
        is_heard: bool = True,
        jump_seconds: float = 0.0,
    ) -> str | None:
        """Take a look; return what it says of the instance, None if nothing."""
        self.number += 1
        now = NOW + timedelta(seconds=30 * self.number + jump_seconds)
        seen_at = now - timedelta(seconds=1 if is_heard else 31)
        load = Load(consumed, busy, 4, oldest_seconds, overdue)

        def lengths(services: Iterable[str]) -> dict[str, int]:
            self.asked += services
            return {} if waiting is None else dict.fromkeys(services, waiting)

        found = wedged.look(
            [wedged.Sign("i1", "user-service", seen_at, load)],
            waiting=lengths,
            now=now,
        )
        return found.get("i1")


def test_one_that_takes_nothing_twice_while_messages_wait_is_wedged() -> None:
    round_ = Round()
    assert [round_.look(5) for _ in range(4)] == [None, "", wedged.NOT_TAKING, wedged.NOT_TAKING]


@pytest.mark.parametrize(("taken", "waiting"), [(6, 7), (5, 0)])
def test_one_message_taken_or_an_empty_queue_clears_it(taken: int, waiting: int) -> None:
    round_ = Round()
    assert [round_.look(5) for _ in range(3)][-1] == wedged.NOT_TAKING
    assert round_.look(taken, waiting=waiting) == ""
    assert round_.look(taken) == ""


def test_what_takes_messages_is_never_wedged_and_nobody_asks_for_its_queue() -> None:
    round_ = Round()
    assert [round_.look(consumed, busy=2) for consumed in range(6)] == [None] + [""] * 5
    assert round_.asked == []


def test_all_handlers_busy_in_one_long_message_each_are_not_wedged() -> None:
    round_ = Round()
    looks = [round_.look(4, busy=4, oldest_seconds=30.0 * n) for n in range(1, 10)]
    assert looks == [None] + [""] * 8
    assert round_.asked == []


def test_all_handlers_past_their_limits_are_and_with_one_of_them_within_its_own_they_are_not() -> (
    None
):
    round_ = Round()
    looks = [round_.look(4, busy=4, oldest_seconds=2000, overdue=3) for _ in range(4)]
    assert looks == [None] + [""] * 3
    looks = [round_.look(4, busy=4, oldest_seconds=2000, overdue=4) for _ in range(3)]
    assert looks == ["", wedged.HANGING, wedged.HANGING]


def test_a_clock_that_jumps_back_keeps_nobody_wedged() -> None:
    round_ = Round()
    assert [round_.look(5) for _ in range(3)][-1] == wedged.NOT_TAKING
    assert round_.look(6, jump_seconds=-3600) == ""


def test_a_look_without_a_new_heartbeat_or_an_answer_of_the_broker_says_nothing() -> None:
    round_ = Round()
    assert [round_.look(5) for _ in range(2)] == [None, ""]
    assert [round_.look(5, is_heard=False), round_.look(5, waiting=None)] == [None, None]
    assert round_.look(5) == wedged.NOT_TAKING


@pytest.mark.parametrize(
    "load_json",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"consumed": 1, "busy": 1, "capacity": 4}',
        '{"consumed": null, "busy": 1, "capacity": 4, "oldest_seconds": 0}',
        '{"consumed": 1, "busy": 0, "capacity": 0, "oldest_seconds": 0}',
        '{"consumed": Infinity, "busy": 0, "capacity": 1, "oldest_seconds": 0}',
    ],
)
def test_a_load_that_says_nothing_is_none(load_json: str) -> None:
    assert Load.of(load_json) is None


def test_a_load_as_heartbeats_bring_it() -> None:
    data: dict[str, Any] = {"consumed": 7, "busy": 4, "capacity": 4, "oldest_seconds": 1.5}
    assert Load.of(str({**data, "overdue": 2}).replace("'", '"')) == Load(7, 4, 4, 1.5, 2)
    text = str(data).replace("'", '"')
    assert Load.of(text) == Load(7, 4, 4, 1.5)
