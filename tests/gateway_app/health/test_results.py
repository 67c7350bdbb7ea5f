"""What a health round leaves on record about services."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_app.health.history import Tally
from gateway_app.health.message_checks import Result
from gateway_app.health.results import BATCH, keep
from gateway_app.models import HealthRecord, HealthSummary, Service, State
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db
NOW = utc_now()

ANSWERED = Result(State.UP, "answered", {"status": "UP"}, seconds=0.01, is_check=True)
SILENT = Result(State.SUSPECT, "no answer within 2 s", is_check=True)
NOT_ASKED = Result(State.UNKNOWN, "could not be asked: BrokerUnavailable")
NONE_RUNS = Result(State.DOWN, "no instance is running")


def keep_all(results: Mapping[str, Result], number: int = 0) -> set[str]:
    now = NOW + timedelta(seconds=30 * number)
    tallies = {name: Tally(checks=1) for name, result in results.items() if result.is_check}
    return keep(results, tallies, failures_until_down=3, now=now)


def states() -> list[str]:
    records = HealthRecord.objects.order_by("pk")
    return [f"{record.previous_state or 'new'}>{record.state}" for record in records]


def test_failures_in_a_row_make_it_suspect_then_down_and_one_answer_brings_it_back() -> None:
    Service.objects.create(name="a")
    for number, result in enumerate([ANSWERED] + [SILENT] * 5 + [ANSWERED, SILENT]):
        keep_all({"a": result}, number)
    assert states() == ["new>UP", "UP>SUSPECT", "SUSPECT>DOWN", "DOWN>UP", "UP>SUSPECT"]
    cause = HealthRecord.objects.get(state=State.DOWN).cause
    assert cause == "health check: no answer within 2 s, at least 3 times in a row"


def test_what_could_not_be_asked_neither_counts_nor_forgives() -> None:
    service = Service.objects.create(name="a")
    for number, result in enumerate([SILENT, NOT_ASKED, SILENT, SILENT]):
        keep_all({"a": result}, number)
    service.refresh_from_db()
    assert (service.last_health["state"], service.health_failures) == ("DOWN", 3)
    keep_all({"a": NONE_RUNS}, 4)
    service.refresh_from_db()
    assert service.health_failures == 0


def test_the_last_result_is_kept_with_its_answer_and_a_record_only_says_something_new() -> None:
    Service.objects.create(name="a")
    assert keep_all({"a": ANSWERED, "removed meanwhile": ANSWERED}) == {"a"}
    assert keep_all({"a": ANSWERED}, 1) == set()
    service = Service.objects.get()
    assert service.last_health_at == NOW + timedelta(seconds=30)
    assert service.last_health == {
        "state": "UP",
        "cause": "answered",
        "answer": {"status": "UP"},
    }
    assert HealthRecord.objects.count() == 1
    # Another reason to be UP is no news.
    assert keep_all({"a": Result(State.UP, "busy: takes other messages")}, 2) == set()
    service.refresh_from_db()
    assert service.last_health["cause"] == "busy: takes other messages"
    assert HealthRecord.objects.count() == 1


def test_hundreds_of_services_are_written_in_a_few_transactions() -> None:
    Service.objects.bulk_create(Service(name=f"s{number}") for number in range(3 * BATCH))
    results = {f"s{number}": (ANSWERED, SILENT)[number % 2] for number in range(3 * BATCH)}
    with CaptureQueriesContext(
        connection,
    ) as queries:
        changed = keep_all(results)
    assert len(changed) == HealthRecord.objects.count() == 3 * BATCH
    assert HealthSummary.objects.count() == 2 * 3 * BATCH
    assert len(queries) <= 3 * 8
