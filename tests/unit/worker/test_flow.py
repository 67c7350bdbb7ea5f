import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from messaging.compose import Composer
from messaging.envelope import Envelope, MessageKind, utc_now
from messaging.histogram import bucket_of
from messaging.outcome import HANDLED, settled
from messaging.registration import ANNOUNCE
from messaging.worker import flow
from messaging.worker.flow import MOST_CHARACTERS, MOST_ROWS, MOST_TAKEN_CHARACTERS, Flow


class Time:
    """Wall-clock time for tests to move."""

    def __init__(self) -> None:
        self.seconds = utc_now().timestamp() // 1 + 0.5

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(flow, "_now", time)
    return time


def a_message(
    message_type: str = "order.paid", source: str = "shop", *, age_seconds: float = 0.0, now: Time
) -> Envelope:
    composed = Composer(source).compose(
        MessageKind.COMMAND, message_type, {}, target="billing", priority="HIGH"
    )
    return replace(composed, created_at=datetime.fromtimestamp(now() - age_seconds, UTC))


def test_deliveries_of_a_second_are_one_row_for_each_source_and_type(time: Time) -> None:
    counted = Flow()
    for seconds in (0.1, 0.1, 0.4):
        # Not at the edge of a bucket, where the last digit of a float decides.
        message = a_message(age_seconds=2.02 + seconds, now=time)
        counted.note(message, seconds, HANDLED)
    counted.note(a_message("order.lost", now=time), 0.01, HANDLED)
    counted.note(a_message(source="api", now=time), 0.01, HANDLED)
    assert counted.take() == []  # of the present second there may be more
    time.seconds += 1
    rows = {(row["source"], row["type"]): row for row in counted.take()}
    assert set(rows) == {("shop", "order.paid"), ("shop", "order.lost"), ("api", "order.paid")}
    row: dict[str, Any] = rows["shop", "order.paid"]
    assert row == {
        "at": int(time.seconds) - 1,
        "source": "shop",
        "type": "order.paid",
        "kind": "command",
        "priority": "HIGH",
        "count": 3,
        "waiting": [(bucket_of(2.02), 3)],
        "handling": [(bucket_of(0.1), 2), (bucket_of(0.4), 1)],
        "total": [(bucket_of(2.1), 3)],
    }
    assert counted.take() == []


def test_failures_are_counted_with_the_last_error_cut(time: Time) -> None:
    counted = Flow()
    counted.note(a_message(now=time), 0.1, settled("first"))
    counted.note(a_message(now=time), 0.1, HANDLED)
    counted.note(a_message(now=time), 0.1, settled("x" * 10_000))
    time.seconds += 1
    (row,) = counted.take()
    assert (row["count"], row["failures"]) == (3, 2)
    assert row["total"] == [(bucket_of(0.0), 1)]  # of the one that was handled
    assert row["last_error"] == "x" * MOST_CHARACTERS


def test_what_the_bus_says_to_itself_is_not_counted(time: Time) -> None:
    counted = Flow()
    counted.note(a_message(ANNOUNCE, now=time), 0.1, HANDLED)
    time.seconds += 1
    assert counted.take() == []


def test_a_sender_whose_clock_is_ahead_waited_no_less_than_nothing(time: Time) -> None:
    counted = Flow()
    counted.note(a_message(age_seconds=-60.0, now=time), 0.1, HANDLED)
    time.seconds += 1
    (row,) = counted.take()
    assert row["waiting"] == [(bucket_of(0.0), 1)]


def test_memory_and_heartbeats_are_bounded_and_no_delivery_is_left_out(time: Time) -> None:
    counted = Flow()
    for number in range(2 * MOST_ROWS):
        counted.note(a_message(f"type.n{number}", now=time), 0.1, HANDLED)
    assert len(counted._rows) <= MOST_ROWS + 1
    time.seconds += 1
    taken = []
    while rows := counted.take():
        assert len(json.dumps(rows)) <= 1.1 * MOST_TAKEN_CHARACTERS
        taken += rows
    assert sum(row["count"] for row in taken) == 2 * MOST_ROWS
    (others,) = [row for row in taken if not row["type"]]
    assert others["count"] == MOST_ROWS


def test_memory_is_bounded_also_where_nobody_takes_the_rows(time: Time) -> None:
    counted = Flow()
    for number in range(3 * MOST_ROWS):
        counted.note(a_message(f"type.n{number}", now=time), 0.1, HANDLED)
        time.seconds += 1
    assert len(counted._rows) <= MOST_ROWS + 1


def test_an_error_that_no_message_can_hold_is_written_out(time: Time) -> None:
    counted = Flow()
    counted.note(a_message(now=time), 0.1, settled("caf\udce9\x00"))
    (row,) = counted.take(is_last=True)
    assert row["last_error"] == "caf\\udce9\\x00"
