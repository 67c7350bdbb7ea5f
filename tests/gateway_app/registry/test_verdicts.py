import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_app.models import ServiceInstance, State
from gateway_app.registry.verdicts import judge

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FAILING = json.dumps({"database": {"ok": False, "text": "connection refused"}})
PROBED = {"probe_failures": 3, "probe_error": "HTTP 503"}


def verdict(**facts: Any) -> tuple[str, str]:
    known: dict[str, Any] = {"last_seen_at": NOW - timedelta(seconds=31), **facts}
    found = judge(ServiceInstance(**known), NOW, probe_failures=3)
    return found.state, found.cause


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, (State.UP, "")),
        ({"heard": State.SUSPECT}, (State.SUSPECT, "silent for 31 s")),
        ({"heard": State.DOWN}, (State.DOWN, "silent for 31 s")),
        (
            {"probe_failures": 2, "probe_error": "HTTP 503"},
            (State.UP, ""),
        ),
        (PROBED, (State.DOWN, "health endpoint: HTTP 503, 3 times in a row")),
        ({"wedged": "takes no messages"}, (State.DOWN, "wedged: takes no messages")),
        ({"checks_json": FAILING}, (State.SUSPECT, "check database: connection refused")),
        (
            {"heard": State.SUSPECT, "checks_json": FAILING, **PROBED},
            (State.DOWN, "health endpoint: HTTP 503, 3 times in a row"),
        ),
        ({"left_at": NOW}, (State.DOWN, "deregistered")),
    ],
)
def test_the_state_is_that_of_the_worst_fact_and_its_cause_is_named(
    facts: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert verdict(**facts) == expected


@pytest.mark.parametrize("facts", [{}, {"heard": State.DOWN}, PROBED, {"wedged": "x"}])
def test_maintenance_hides_what_is_wrong_until_its_end(facts: dict[str, Any]) -> None:
    until = NOW + timedelta(minutes=30)
    expected = (State.MAINTENANCE, "maintenance until 12:30:00 UTC")
    assert verdict(maintenance_until=until, **facts) == expected
    assert verdict(maintenance_until=NOW, **facts) == verdict(**facts)


def test_an_end_on_another_day_is_shown_with_its_date() -> None:
    until = NOW + timedelta(days=1)
    assert verdict(maintenance_until=until)[1] == "maintenance until 2026-02-01 12:00:00 UTC"
