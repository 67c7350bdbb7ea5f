"""Health checks added up by minute and hour, and the removal of what is old."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import connection

from gateway_app import removing
from gateway_app.health import history
from gateway_app.health.history import Tally
from gateway_app.models import HealthRecord, HealthSummary, Resolution, Service, State
from gateway_app.removing import remove_oldest

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def a_tally(*seconds: float | None) -> Tally:
    tally = Tally()
    for each in seconds:
        tally.add(each, is_failure=each is None)
    return tally


def rows(resolution: Resolution) -> list[tuple[object, ...]]:
    return list(
        HealthSummary.objects.filter(resolution=resolution)
        .order_by("service__name", "at")
        .values_list("service__name", "at", "checks", "failures", "seconds_sum", "seconds_max")
    )


def test_checks_add_up_in_their_minute_and_hour() -> None:
    a, b = (Service.objects.create(name=name).pk for name in ("a", "b"))
    history.add({a: a_tally(0.5, 0.25), b: a_tally(None)}, NOON)
    history.add({a: a_tally(0.125, None)}, NOON + timedelta(seconds=59.9))
    history.add({a: a_tally(1.0)}, NOON + timedelta(seconds=60))
    one = NOON + timedelta(minutes=1)
    assert rows(Resolution.MINUTE) == [
        ("a", NOON, 4, 1, 0.875, 0.5),
        ("a", one, 1, 0, 1.0, 1.0),
        ("b", NOON, 1, 1, 0.0, 0.0),
    ]
    assert rows(Resolution.HOUR) == [("a", NOON, 5, 1, 1.875, 1.0), ("b", NOON, 1, 1, 0.0, 0.0)]


def test_a_sweep_removes_what_is_too_old_and_ends_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removing, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(history, "remove_oldest", partial(remove_oldest, at_once=20))
    service = Service.objects.create(name="a")
    ages = {Resolution.MINUTE: 7, Resolution.HOUR: 90}
    for resolution, days in ages.items():
        HealthSummary.objects.bulk_create(
            HealthSummary(
                service=service, resolution=resolution, at=NOON - timedelta(days=days, hours=hour)
            )
            for hour in range(-2, 25)
        )
    HealthRecord.objects.bulk_create(
        HealthRecord(service=service, state=State.UP, at=NOON - timedelta(days=90, hours=hour))
        for hour in range(-2, 25)
    )
    assert history.sweep(NOON) == 3 * 20
    for resolution in ages:
        kept = HealthSummary.objects.filter(resolution=resolution)
        assert kept.count() == 7
    monkeypatch.undo()
    assert history.sweep(NOON) == 3 * 4
    assert history.sweep(NOON) == 0
    assert HealthRecord.objects.count() == HealthSummary.objects.count() / 2 == 3


def test_a_sweep_finds_the_oldest_rows_without_reading_the_others() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("plans of a small table say nothing elsewhere")
    for old in history.too_old(NOON):
        plan = old.values_list("pk")[:10].explain()
        assert "USING" in plan, plan
        assert "INDEX" in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        assert "SCAN" not in plan, plan
