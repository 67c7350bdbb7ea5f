"""When what recurs is due, and what is no recurrence."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging import ConfigurationError, ServiceCommunicator
from messaging.recurrence import Recurrence

NOW = datetime(2026, 3, 28, 12, 34, 56, tzinfo=UTC)


def a_recurrence(**values: Any) -> Recurrence:
    when = {} if "cron" in values else {"every": 3600.0}
    return Recurrence(**{"name": "r", "type": "report.create", **when, **values})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("values", "instants"),
    [
        ({"every": 3600.0}, ["2026-03-28T13:00Z", "2026-03-28T14:00Z"]),
        ({"every": 1.5}, ["2026-03-28T12:34:57Z", "2026-03-28T12:34:58.5Z"]),
        ({"cron": "0 6 * * 1-5"}, ["2026-03-30T06:00Z", "2026-03-31T06:00Z"]),
        # Night of the 29th: Berlin's clocks leave out 2 to 3.
        (
            {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
            ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
        ),
    ],
)
def test_when_the_next_ones_are_due(values: dict[str, Any], instants: list[str]) -> None:
    recurrence, now = a_recurrence(**values), NOW
    for instant in instants:
        now = recurrence.next_after(now)
        assert now == at(instant)


def test_what_the_clock_says_twice_is_due_once() -> None:
    recurrence = a_recurrence(cron="30 2 * * *", timezone="Europe/Berlin")
    now, found = at("2026-10-24T12:00Z"), []
    while now < at("2026-10-27T00:00Z"):
        found.append(now := recurrence.next_after(now))
    assert len(found) == 3


@given(
    every=st.floats(1.0, 366 * 86_400.0),
    instant=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
)
def test_the_next_one_is_later_and_not_too_late(every: float, instant: datetime) -> None:
    now = instant.replace(tzinfo=UTC)
    due_at = a_recurrence(every=every).next_after(now)
    assert now < due_at <= now + timedelta(seconds=every * 1.001)


def test_it_is_read_as_it_is_written() -> None:
    said = a_recurrence(
        to="b", data={"a": [1]}, cron="* * * * *", expires_in=5.0, overlaps=False, timezone="UTC"
    )
    assert Recurrence.from_json(said.to_json()) == said
    assert Recurrence.from_json(a_recurrence().to_json()) == a_recurrence()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"type": "no type"}, "type"),
        ({"to": "no service"}, "to"),
        ({"data": float("nan")}, "data"),
        ({"data": "x" * 20_000}, "at most 16384 bytes"),
        ({"every": 0.5}, "every"),
        ({"every": "5"}, "every: expected a number of seconds"),
        ({"every": float("nan")}, "every"),
        ({"every": 3600.0, "cron": "* * * * *"}, "one of the two"),
        ({"every": None}, "one of the two"),
        ({"cron": "* * * * * *"}, "five fields"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"timezone": "Berlin"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"expires_in": 0.0}, "expires_in"),
        ({"overlaps": False}, "overlaps"),
        ({"priority": "URGENT"}, "URGENT"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], said: str) -> None:
    when = {} if {"every", "cron"} & set(values) else {"every": 3600.0}
    with pytest.raises(ValueError, match=said):
        Recurrence.from_json({"name": "r", "type": "report.create", **when, **values})


@pytest.mark.parametrize("said", [None, [], {}, {"name": "r"}, {"name": 1, "type": "t"}])
def test_what_is_no_recurrence_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        Recurrence.from_json(said)


def test_a_service_declares_each_name_once_and_rightly() -> None:
    billing = ServiceCommunicator("billing")
    billing.recurring("nightly", "report.create", to="billing", cron="0 3 * * *")
    assert [each.name for each in billing.recurrences()] == ["nightly"]
    with pytest.raises(ConfigurationError, match="a second time"):
        billing.recurring("nightly", "report.create", every=60)
    with pytest.raises(ConfigurationError, match="five fields"):
        billing.recurring("hourly", "report.create", cron="hourly")
