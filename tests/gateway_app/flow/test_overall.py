"""What is added up over all services, and what is never taken away: the flow at a glance."""

from datetime import timedelta

import pytest
from pytest_django import DjangoAssertNumQueries

from gateway_app.flow import overall, rows, summaries, totals
from gateway_app.models import FlowOverall, FlowTotal, Resolution
from messaging.histogram import bucket_of
from tests.gateway_app.flow.test_flow import NOW, a_row, keep

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = NOW.replace(second=0)


def test_priorities_add_up_over_all_services_by_minute_and_hour() -> None:
    for target in ("billing", "shipping"):
        keep(target, [a_row(), a_row(type="order.lost"), a_row(priority="LOW", failures=0)], NOW)
        keep(target, [a_row(NOW + timedelta(minutes=1))], NOW)
        summaries.add_up(NOW)
    minutes = list(overall.between(Resolution.MINUTE, MINUTE, MINUTE + timedelta(minutes=2)))
    counts = {(at, priority): (each.count, each.failures) for at, priority, each in minutes}
    assert counts == {
        (MINUTE, "HIGH"): (12, 4),
        (MINUTE, "LOW"): (6, 0),
        (MINUTE + timedelta(minutes=1), "HIGH"): (6, 2),
    }
    assert [at for at, _, _ in minutes] == sorted(at for at, _, _ in minutes)
    hour = MINUTE.replace(minute=0)
    (high,) = (
        each
        for _, priority, each in overall.between(Resolution.HOUR, hour, MINUTE)
        if priority == "HIGH"
    )
    assert high.count == 18
    assert high.waiting == {bucket_of(0.5): 18}
    # The end is not part of it.
    assert list(overall.between(Resolution.MINUTE, hour, MINUTE)) == []


def test_an_hour_is_read_with_one_query_whatever_was_told_apart(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for minute in range(5):
        at = NOW + timedelta(minutes=minute)
        for target in ("billing", "shipping"):
            keep(target, [a_row(at, type=f"order.n{n}") for n in range(20)], at)
    summaries.add_up(NOW)
    with django_assert_num_queries(1):
        found = list(overall.between(Resolution.MINUTE, MINUTE, MINUTE + timedelta(hours=1)))
    assert [each.count for _, _, each in found] == [2 * 20 * 3] * 5


def test_totals_count_each_delivery_once_and_outlive_the_summaries() -> None:
    keep("billing", [a_row(), a_row(NOW + timedelta(minutes=1)), a_row(priority="LOW")], NOW)
    keep("shipping", [a_row()], NOW)
    summaries.add_up(NOW)
    keep("billing", [a_row(NOW + timedelta(hours=1))], NOW + timedelta(hours=1))
    summaries.add_up(NOW)
    expected = {
        ("billing", "HIGH"): (9, 3),
        ("billing", "LOW"): (3, 1),
        ("shipping", "HIGH"): (3, 1),
    }
    assert {place: (each.count, each.failures) for place, each in totals.all_of_them()} == expected
    summaries.sweep(NOW + timedelta(days=8))
    assert {row.resolution for row in FlowOverall.objects.all()} == {Resolution.HOUR}
    summaries.sweep(NOW + timedelta(days=91))
    assert FlowOverall.objects.count() == 0
    assert {place: (each.count, each.failures) for place, each in totals.all_of_them()} == expected


def test_the_largest_numbers_are_added_up_again_and_again() -> None:
    most = rows.MOST_COUNT
    for _ in range(3):
        keep("billing", [a_row(count=most, waiting=[[0, most]], handling=[[0, most]])] * 100, NOW)
        summaries.add_up(NOW)
    assert FlowTotal.objects.get().count == 300 * most
