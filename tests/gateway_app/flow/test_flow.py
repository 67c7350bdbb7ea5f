"""From what heartbeats say to what can be read of a minute, an hour, and the last few seconds."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from gateway_app.flow import rows, samples, summaries
from gateway_app.flow.rows import Edge
from gateway_app.models import FlowSample, FlowSummary, Resolution
from messaging.histogram import bucket_of, quantile
from tests.gateway_app.at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 25, 14, 32, 10, tzinfo=UTC)
EDGE = Edge("shop", "billing", "order.paid", "command", "HIGH")


def a_row(at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    return {
        "at": int(at.timestamp()),
        "source": "shop",
        "type": "order.paid",
        "kind": "command",
        "priority": "HIGH",
        "count": 3,
        "failures": 1,
        "waiting": [[bucket_of(0.5), 3]],
        "handling": [[bucket_of(0.01), 2], [bucket_of(1.0), 1]],
        "total": [[bucket_of(0.51), 2]],
        "last_error": "ValueError: no",
        **changes,
    }


def keep(target: str, said: Any, now: datetime) -> None:
    samples.keep(samples.sample_of(target, said, uuid.uuid4().hex, now))


def stored(resolution: Resolution) -> dict[tuple[datetime, Edge], Any]:
    found = summaries.between(resolution, NOW - timedelta(days=1), NOW + timedelta(days=1))
    return {(at, edge): deliveries for at, edge, deliveries in found}


def test_samples_of_a_minute_and_hour_add_up_once_each() -> None:
    for seconds in (0, 5, 10):
        later = NOW + timedelta(seconds=seconds)
        keep("billing", [a_row(later), a_row(later, type="order.lost", failures=0)], later)
    next_minute = NOW + timedelta(minutes=1)
    keep("billing", [a_row(next_minute)], next_minute)
    assert summaries.add_up(NOW) == 4
    assert summaries.add_up(NOW) == 0
    minutes, hours = stored(Resolution.MINUTE), stored(Resolution.HOUR)
    minute, hour = NOW.replace(second=0), NOW.replace(minute=0, second=0)
    counts = {(at.minute, edge.type): each.count for (at, edge), each in minutes.items()}
    assert counts == {(32, "order.paid"): 9, (32, "order.lost"): 9, (33, "order.paid"): 3}
    assert hours[hour, EDGE].count == 12
    paid = minutes[minute, EDGE]
    assert (paid.failures, paid.last_error) == (3, "ValueError: no")
    assert paid.handling == {bucket_of(0.01): 6, bucket_of(1.0): 3}
    assert quantile(paid.handling, 0.5) == pytest.approx(0.01, rel=0.25)
    assert paid.total == {bucket_of(0.51): 6}
    # What comes later for the same minute is added to it.
    keep("billing", [a_row()], NOW)
    summaries.add_up(NOW)
    assert stored(Resolution.MINUTE)[minute, EDGE].count == 12


def test_what_fails_in_the_middle_is_neither_lost_nor_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(summaries, "AT_ONCE", 2)
    for _ in range(5):
        keep("billing", [a_row()], NOW)
    put, calls = summaries._put, []

    def failing(sums: Any) -> None:
        put(sums)
        calls.append(1)
        if len(calls) == 2:
            raise DatabaseError("away")

    monkeypatch.setattr(summaries, "_put", failing)
    with pytest.raises(DatabaseError):
        summaries.add_up(NOW)
    assert FlowSample.objects.filter(is_added=True).count() == 2
    assert summaries.add_up(NOW) == 3
    assert stored(Resolution.HOUR)[NOW.replace(minute=0, second=0), EDGE].count == 15


def test_two_that_add_up_at_once_count_nothing_twice() -> None:
    for _ in range(40):
        keep("billing", [a_row()], NOW)
    added = at_once(lambda: summaries.add_up(NOW))
    assert sum(added) == 40
    assert stored(Resolution.MINUTE)[NOW.replace(second=0), EDGE].count == 120


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        {"at": 1},
        a_row(source="no service!"),
        a_row(type="a b"),
        a_row(kind="order"),
        a_row(priority="URGENT"),
        a_row(count=-1),
        a_row(count=10**12),
        a_row(failures=4),
        a_row(waiting=[[10_000, 1]]),
        a_row(handling=[[0, -5]]),
        a_row(handling="many"),
        {**a_row(), "at": "now"},
        {**a_row(), "at": float("inf")},
        {**a_row(), "at": 10**400},
        {**a_row(), "at": True},
        a_row(count=10**400),
        a_row(count=3.0),
        a_row(waiting=[[0, int("9" * 4300)]]),
        a_row(waiting=[[0.5, 1]]),
        a_row(waiting=[[0, float("inf")]]),
        a_row(waiting=[[0, True]]),
        a_row(handling=[[0, 4]]),
        a_row(count=None),
    ],
)
def test_what_is_wrong_is_left_out_and_the_rest_is_kept(wrong: Any) -> None:
    keep("billing", [wrong, a_row()], NOW)
    (kept,) = samples.since(NOW - timedelta(minutes=1))
    assert (kept.edge, kept.deliveries.count) == (EDGE, 3)


@pytest.mark.parametrize("said", [None, "text", 5, {}, [], [None]])
def test_a_heartbeat_that_says_nothing_of_it_writes_nothing(
    said: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        keep("billing", said, NOW)


def test_a_heartbeat_writes_one_row_whatever_it_says() -> None:
    keep("billing", [a_row(type=f"type.n{n}") for n in range(rows.MOST_ROWS + 50)], NOW)
    assert FlowSample.objects.count() == 1
    assert len(list(samples.since(NOW - timedelta(minutes=1)))) == rows.MOST_ROWS


def test_a_clock_that_is_far_off_is_not_believed() -> None:
    keep("billing", [a_row(NOW - timedelta(days=3))], NOW)
    (kept,) = samples.since(NOW - timedelta(minutes=1))
    assert kept.second == int(NOW.timestamp())


def test_errors_with_what_no_database_holds_are_kept() -> None:
    keep("billing", [a_row(last_error="\ud800\x00" + "x" * 1000)], NOW)
    summaries.add_up(NOW)
    assert FlowSummary.objects.filter(last_error__startswith="\\ud800\\x00x").count() == 2


def test_what_is_too_old_goes_and_what_is_not_added_yet_stays() -> None:
    def sizes() -> tuple[int, int]:
        return FlowSample.objects.count(), FlowSummary.objects.count()

    keep("billing", [a_row()], NOW)

    def later(days: float) -> datetime:
        return NOW + timedelta(days=days)

    samples.sweep(later(1))
    assert sizes() == (1, 0)
    summaries.add_up(NOW)
    samples.sweep(NOW + timedelta(minutes=30))
    summaries.sweep(later(6))
    assert sizes() == (1, 2)
    samples.sweep(later(1))
    summaries.sweep(later(8))
    assert sizes() == (0, 1)
    summaries.sweep(later(91))
    assert sizes() == (0, 0)


def test_a_heartbeat_that_is_delivered_again_counts_once() -> None:
    for _ in range(2):
        samples.keep(samples.sample_of("billing", [a_row()], "one-message", NOW))
    assert FlowSample.objects.count() == 1


def test_a_sample_that_cannot_be_read_keeps_no_other_from_being_added(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep("billing", [a_row()], NOW)
    FlowSample.objects.update(rows_json="nonsense")
    keep("billing", [a_row()], NOW)
    assert summaries.add_up(NOW) == 2
    assert "cannot be read" in caplog.text
    assert stored(Resolution.MINUTE)[NOW.replace(second=0), EDGE].count == 3


def test_types_without_number_are_added_up_without_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(summaries, "MOST_EDGES", 10)
    for start in range(0, 50, 5):
        keep("billing", [a_row(type=f"order.{n}.paid") for n in range(start, start + 5)], NOW)
        keep("shipping", [a_row()], NOW)
    summaries.add_up(NOW)
    minutes = stored(Resolution.MINUTE)
    of_billing = [edge for _, edge in minutes if edge.target == "billing"]
    assert len(of_billing) == 11
    assert sum(each.count for (_, edge), each in minutes.items() if edge in of_billing) == 150
    assert minutes[NOW.replace(second=0), EDGE._replace(target="shipping")].count == 30


def test_the_last_moments_are_read_by_their_index() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("plans of a small table say nothing elsewhere")
    with CaptureQueriesContext(connection) as queries:
        list(samples.since(NOW))
    (query,) = queries.captured_queries
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
        plan = " ".join(str(row) for row in cursor.fetchall())
    assert "USING INDEX" in plan
    assert "SCAN" not in plan


def test_the_largest_numbers_that_are_believed_can_be_added_up_again_and_again() -> None:
    most = rows.MOST_COUNT
    largest = a_row(count=most, waiting=[[0, most]], handling=[[0, most]])
    for _ in range(3):
        for _ in range(20):
            keep("billing", [largest] * 100, NOW)
        summaries.add_up(NOW)
    (hour,) = stored(Resolution.HOUR).values()
    assert hour.count == hour.handling[0] == 6000 * most
