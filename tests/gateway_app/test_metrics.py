"""What Prometheus reads: that it is right, stays monotonic, and costs what the page says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from gateway_app import parked_totals, stored_metrics
from gateway_app.flow import summaries
from gateway_app.http import metrics
from gateway_app.models import FlowTotal, Service, State
from messaging import MessageBus, MessagePriority
from messaging.deadletter import DeadLetterReason
from messaging.envelope import utc_now
from messaging.histogram import bucket_of, upper_bound
from messaging.models import OutboxMessage
from tests.gateway_app.deadletters.letters import park
from tests.gateway_app.flow.test_flow import NOW, a_row, keep
from tests.gateway_app.metrics_text import (
    flow_more,
    happen,
    parsed,
    scrape,
    send_critical,
    value,
)
from tests.support.installation import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


def test_flow_is_told_by_service_and_priority() -> None:
    flow_more()
    found = scrape()
    high = {"service": "billing", "priority": "HIGH"}
    assert value(found, "bus_handled_total", **high) == 2
    assert value(found, "bus_failed_attempts_total", **high) == 1
    # Three waited 0.5 s, two were handled in 0.01 s, one in 1 s.
    assert value(found, "bus_wait_seconds_bucket", le="0.5", **high) == 0
    assert value(found, "bus_wait_seconds_bucket", le="1.0", **high) == 3
    assert value(found, "bus_handling_seconds_bucket", le="0.03125", **high) == 2
    assert value(found, "bus_handling_seconds_bucket", le="+Inf", **high) == 3
    assert value(found, "bus_handling_seconds_count", **high) == 3
    assert value(found, "bus_latency_seconds_bucket", le="0.5", **high) == 0
    assert value(found, "bus_latency_seconds_count", **high) == 2  # one of them failed
    assert 1.02 <= value(found, "bus_handling_seconds_sum", **high) <= 1.02 * 1.25


def test_the_buckets_end_where_those_of_the_bus_do() -> None:
    """Else some would be counted as shorter or longer than they are."""
    for bound in stored_metrics.BUCKETS:
        assert upper_bound(bucket_of(bound) - 1) == bound
    buckets, _ = stored_metrics.cumulative({bucket_of(10.0**power): 1 for power in range(-3, 6)})
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == 9


def test_counters_only_grow_over_scrapes_and_a_new_process() -> None:
    flow_more()
    park("dead-1", service="billing")
    first = counters(scrape())
    flow_more()
    park("dead-2", service="billing")
    park("dead-2", service="billing")  # again: it is the same
    summaries.sweep(NOW + timedelta(days=365))
    second = counters(scrape())
    assert set(first) <= set(second)
    assert all(second[key] >= first[key] for key in first)
    assert sum(second.values()) > sum(first.values())
    assert list(parked_totals.all_of_them()) == [("billing", "attempts_exhausted", 2)]
    # A process that has just begun tells the same.
    assert counters(parsed(render_elsewhere())) == second


def counters(samples: dict) -> dict:
    """Return those that are of the database and must never become less."""
    ends = ("_total", "_bucket", "_count", "_sum")
    return {
        key: number
        for key, number in samples.items()
        if key[0].startswith("bus_") and key[0].endswith(ends)
    }


def render_elsewhere() -> str:
    """Return the metrics as a new process on the same database gives them."""
    given = connection.settings_dict
    name = given["NAME"]
    if connection.vendor == "sqlite":
        url = f"sqlite:///{name}"
    else:
        url = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{name}"
    code = (
        "import django; django.setup(); from gateway_app.http import metrics;"
        "print(metrics.render().decode())"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "gateway_app.settings",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_what_fails_in_the_middle_is_not_in_the_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(sums: object) -> None:
        put(sums)  # type: ignore[arg-type]  # as it was
        raise DatabaseError("away")

    put = summaries._put
    keep("billing", [a_row()], NOW)
    monkeypatch.setattr(summaries, "_put", failing)
    with pytest.raises(DatabaseError):
        summaries.add_up(NOW)
    assert not FlowTotal.objects.exists()
    monkeypatch.setattr(summaries, "_put", put)
    summaries.add_up(NOW)
    assert FlowTotal.objects.get().count == 3


def test_custody_is_told_by_priority_with_the_age_of_the_oldest() -> None:
    found = scrape()
    assert value(found, "bus_outbox_open", priority="CRITICAL", state="pending") == 0
    assert value(found, "bus_outbox_oldest_seconds", priority="CRITICAL") == 0
    send_critical("new")
    send_critical("old", timedelta(minutes=10))
    found = scrape()
    states = ("pending", "published", "accepted")
    open_rows = [
        value(found, "bus_outbox_open", priority="CRITICAL", state=state) for state in states
    ]
    assert sum(open_rows) == 2
    for name in ("bus_outbox_oldest_seconds", "bus_outbox_lag_seconds"):
        assert 600 <= value(found, name, priority="CRITICAL") < 660
        assert value(found, name, priority="LOW") == 0


def test_a_message_sent_with_a_delay_is_not_late_before_its_time() -> None:
    """Somebody was woken by a reminder that was to go out the next day."""
    send_critical("tomorrow", timedelta(minutes=10))
    row = OutboxMessage.objects.filter(message_id="tomorrow")
    row.update(due_at=utc_now() + timedelta(days=1))
    assert value(scrape(), "bus_outbox_oldest_seconds", priority="CRITICAL") == 0
    assert value(scrape(), "bus_outbox_lag_seconds", priority="CRITICAL") == 0
    row.update(held_at=utc_now())  # its time had come, and its target is down
    assert value(scrape(), "bus_outbox_oldest_seconds", priority="CRITICAL") >= 600


def test_every_state_of_every_service_is_told_and_none_for_a_tracked_one_that_is_gone(
    own_broker: MessageBus,
) -> None:
    happen(own_broker)
    Service.objects.create(name="gone", tracked=True)
    Service.objects.create(name="forgotten", tracked=False)
    found = scrape()
    expected = {("billing", "UP"): 1, ("shop", "DOWN"): 1}
    for service in ("billing", "shop", "gone"):
        for state in State:
            told = value(found, "bus_service_instances", service=service, state=state.value)
            assert told == expected.get((service, state.value), 0)
    assert value(found, "bus_instances", state="UP") == 1
    assert value(found, "bus_service_paused", service="shop") == 1
    assert ("bus_service_paused", frozenset({("service", "billing")})) not in found
    assert not any(("service", "forgotten") in labels for _, labels in found)


def test_the_rest_is_told(own_broker: MessageBus) -> None:
    happen(own_broker)
    found = scrape()
    assert value(found, "bus_dead_letters", service="billing", reason="invalid") == 1
    assert value(found, "bus_dead_letters_parked_total", service="billing", reason="invalid") == 1
    assert value(found, "bus_retries_waiting", service="billing") == 1
    assert value(found, "bus_outbox_held", service="shop") == 1
    assert value(found, "bus_queue_waiting", service="billing", priority="HIGH") == 1


def plans() -> Iterator[str]:
    with CaptureQueriesContext(connection) as queries:
        metrics.render()
    assert len(queries.captured_queries) <= 13
    for query in queries.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            yield " ".join(str(row) for row in cursor.fetchall())


def test_a_scrape_reads_no_ledger_from_end_to_end(own_broker: MessageBus) -> None:
    """What it costs must not grow with what is over: tables that do are read by their indexes."""
    if connection.vendor != "sqlite":
        pytest.skip("plans of a small table say nothing elsewhere")
    happen(own_broker)
    for plan in plans():
        for table in (
            "messaging_outboxmessage",
            "messaging_inboxmessage",
            "gateway_app_deadletter",
        ):
            if f"SCAN {table}" in plan:
                # All of an index of open rows alone.
                assert f"SCAN {table} USING INDEX messaging_" in plan, plan


def test_a_service_costs_as_many_series_as_the_page_says(own_broker: MessageBus) -> None:
    happen(own_broker)  # its queue, a retry, a route with a status
    keep("billing", [a_row(priority=priority.name) for priority in MessagePriority], NOW)
    summaries.add_up(NOW)
    for reason in DeadLetterReason:
        park(reason.value, service="billing", reason=reason)
    found = [name for name, labels in scrape() if ("service", "billing") in labels]
    of_routes = sum(name.startswith(("gateway_requests", "gateway_request_")) for name in found)
    page = (ROOT / "docs/monitoring.md").read_text()
    stated = re.search(r"A service costs (\d+) at most, .* and some (\d+) for each route", page)
    assert stated is not None
    most, some = int(stated[1]), int(stated[2])
    assert most - 10 <= len(found) - of_routes <= most  # not all of it at once: paused, held, …
    assert some - 2 <= of_routes <= some + 2
