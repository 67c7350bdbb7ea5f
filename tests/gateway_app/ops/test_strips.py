"""Strips and pins of health records."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway_app.models import State
from gateway_app.ops.strips import Change, Segment, Window, drawn, strip, window

NOW = datetime(2026, 3, 4, 14, 0, tzinfo=UTC)
HOURS = Window(NOW - timedelta(hours=10), NOW)


def change(hours_ago: float, previous: str, state: str, cause: str = "") -> Change:
    at = NOW - timedelta(hours=hours_ago)
    return Change(int(hours_ago * 100), "a", "i1", previous, State(state), cause, at)


def states(
    *changes: Change, otherwise: str = "UP", shown: Window = HOURS
) -> list[tuple[str, int]]:
    found = strip(changes, shown, otherwise=otherwise)
    return [(each.state, round(each.width)) for each in found.segments]


def test_without_a_record_the_state_is_what_it_is_now() -> None:
    assert states() == [("UP", 100)]
    assert states(otherwise="DOWN") == [("DOWN", 100)]


def test_the_first_record_says_what_was_before_it() -> None:
    assert states(change(4, "UP", "DOWN")) == [("UP", 60), ("DOWN", 40)]
    assert states(change(4, "", "UP")) == [("", 60), ("UP", 40)]


def test_a_record_before_the_stretch_says_how_it_began() -> None:
    assert states(change(20, "UP", "SUSPECT"), otherwise="UP") == [("SUSPECT", 100)]


def test_every_record_has_a_pin_and_its_place() -> None:
    changes = [change(5, "UP", "SUSPECT"), change(4, "SUSPECT", "DOWN"), change(1, "DOWN", "UP")]
    found = strip(changes, HOURS, otherwise="UP")
    assert [(pin.change, pin.x) for pin in found.pins] == list(
        zip(changes, [50.0, 60.0, 90.0], strict=True)
    )
    assert found.state == "UP"


def test_who_said_goodbye_or_was_forgotten_is_not_running_rather_than_down() -> None:
    assert states(change(5, "UP", "DOWN", "deregistered")) == [("UP", 50), ("", 50)]
    forgotten = change(2, "DOWN", "UNKNOWN", "forgotten: silent for 600 s")
    assert states(change(5, "UP", "DOWN"), forgotten) == [("UP", 50), ("DOWN", 30), ("", 20)]


def test_nothing_is_said_of_what_is_not_read() -> None:
    shown = Window(HOURS.began_at, HOURS.ended_at, known_from=NOW - timedelta(hours=5))
    assert states(change(3, "UP", "DOWN"), shown=shown) == [("UP", 20), ("DOWN", 30)]


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ((), 1.0),
        ((change(2, "UP", "DOWN"),), 0.8),
        ((change(2, "UP", "SUSPECT"),), 1.0),
        ((change(2, "UP", "MAINTENANCE"),), 1.0),
        ((change(5, "", "UP"), change(1, "UP", "DOWN")), 0.8),
    ],
)
def test_uptime_is_of_the_time_in_which_it_should_have_served(
    changes: tuple[Change, ...], share: float
) -> None:
    assert strip(changes, HOURS, otherwise="UP").uptime == pytest.approx(share, abs=0.001)


def test_what_never_should_have_served_has_no_uptime() -> None:
    assert strip([], HOURS, otherwise="MAINTENANCE").uptime is None
    assert strip([], HOURS, otherwise="").uptime is None


def test_the_shortest_state_can_be_seen_also_at_the_edge() -> None:
    assert drawn([Segment("UP", 0.0, 99.99), Segment("DOWN", 99.99, 0.01)])[-1] == Segment(
        "DOWN", 99.6, 0.4
    )


def test_the_stretch_moves_on_in_steps_and_never_ends_before_now() -> None:
    one, same = (window(NOW + timedelta(seconds=each), timedelta(hours=6)) for each in (0, 29))
    assert one == same
    assert one.ended_at > NOW + timedelta(seconds=29)
    assert window(NOW + timedelta(seconds=31), timedelta(hours=6)) != one


def test_the_axis_has_a_mark_at_each_full_hour_or_day() -> None:
    six = Window(NOW - timedelta(hours=6.5), NOW - timedelta(hours=0.5))
    assert [mark.text for mark in six.marks()] == [
        "08:00",
        "09:00",
        "10:00",
        "11:00",
        "12:00",
        "13:00",
    ]
    week = Window(NOW - timedelta(days=7), NOW)
    assert [mark.text for mark in week.marks()][:2] == ["Thu 26", "Fri 27"]
