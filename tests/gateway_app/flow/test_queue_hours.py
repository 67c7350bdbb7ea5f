"""Looks at queues, added up by the hour."""

import json
from datetime import timedelta

import pytest
from django.db import DatabaseError

from gateway_app import handlers, registry
from gateway_app.flow import queue_hours, queues
from gateway_app.flow.queue_hours import EVERYBODY, Hour
from gateway_app.models import FlowOverall, FlowSummary, QueueDepth, QueueHour, QueueLook
from gateway_app.ops.queue_history import ALL, SCALES, Histories, bands, rates
from messaging import MessageBus, MessagePriority, ServiceCommunicator
from messaging.envelope import utc_now
from tests.gateway_app.at_once import at_once
from tests.gateway_app.registry.test_registry import NOW, a_registration

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
START = NOW.replace(minute=0, second=0, microsecond=0)
#: When the hour that begins at START has settled.
OVER = START + HOUR + queue_hours.SETTLED_AFTER


def look(minutes: float, **waiting: dict[str, int] | int) -> None:
    """Keep a look so many minutes after START; a number: the broker tells no priorities."""
    made = QueueLook.objects.create(at=START + timedelta(minutes=minutes))
    for service, counts in waiting.items():
        is_split = not isinstance(counts, int)
        QueueDepth.objects.create(
            look=made,
            service=service,
            waiting=counts if isinstance(counts, int) else sum(counts.values()),
            by_priority_json=json.dumps(counts) if is_split else "",
            oldest_seconds=minutes if is_split else None,
        )


def hours(service: str = EVERYBODY, count: int = 24 * 30) -> list[Hour]:
    return list(queue_hours.between(service, START, START + count * HOUR))


def test_an_hour_is_what_its_looks_saw() -> None:
    look(0, a={"HIGH": 2}, b={"LOW": 1})
    look(20, a={"HIGH": 3, "LOW": 1}, b={"LOW": 4, "HIGH": 1})
    look(40, b={"LOW": 6})
    look(59)
    look(60, a={"LOW": 100})
    assert queue_hours.add_up(OVER) == 1
    assert hours() == [Hour(START, 4, 9, 4.5, 0, {"HIGH": 4, "LOW": 5}, 40.0)]
    assert hours("a") == [Hour(START, 4, 4, 1.5, 0, {"HIGH": 3, "LOW": 1}, 20.0)]
    assert hours("b") == [Hour(START, 4, 6, 3.0, 0, {"LOW": 6}, 40.0)]


def test_an_hour_in_which_nobody_looked_is_not_one_in_which_nothing_waited() -> None:
    look(0)
    look(130, a=7)
    assert queue_hours.add_up(OVER + 2 * HOUR) == 2
    assert hours() == [Hour(START, 1), Hour(START + 2 * HOUR, 1, 7, 7.0, 7, None)]
    assert hours("idle") == [Hour(START, 1), Hour(START + 2 * HOUR, 1)]


def test_an_hour_is_added_when_it_has_settled_and_once() -> None:
    look(10, a={"LOW": 1})
    assert queue_hours.add_up(OVER - timedelta(seconds=1)) == 0
    assert queue_hours.add_up(OVER) == 1
    look(11, a={"LOW": 50})  # too late
    assert queue_hours.add_up(OVER) == queue_hours.add_up(OVER) == 0
    assert [hour.most for hour in hours()] == [1]
    assert not QueueLook.objects.filter(is_added=False).exists()


def test_what_nobody_added_for_days_is_made_up_for_before_it_is_removed() -> None:
    for number in range(5):
        look(60 * 24 * number, a={"LOW": number + 1})
    late = START + timedelta(days=30)
    queues.sweep(late)
    assert QueueLook.objects.count() == 5
    assert queue_hours.add_up(late) == 5
    assert [hour.most for hour in hours("a")] == [1, 2, 3, 4, 5]
    queues.sweep(late)
    assert not QueueLook.objects.exists()
    assert queue_hours.add_up(late) == 0
    assert len(hours()) == 5


def test_what_fails_is_added_later(monkeypatch: pytest.MonkeyPatch) -> None:
    look(0, a=1)
    with monkeypatch.context() as patched:
        patched.setattr(
            QueueHour.objects, "bulk_create", lambda *_, **__: (_ for _ in ()).throw(DatabaseError)
        )
        with pytest.raises(DatabaseError):
            queue_hours.add_up(OVER)
    assert QueueLook.objects.filter(is_added=False).count() == 1
    assert queue_hours.add_up(OVER) == 1


@pytest.mark.django_db(transaction=True)
def test_two_that_add_up_at_once_write_each_hour_once() -> None:
    for number in range(12):
        look(60 * number, a={"LOW": number}, b=1)
    at_once(lambda: queue_hours.add_up(OVER + 12 * HOUR))
    assert [hour.most for hour in hours("a")] == list(range(12))
    assert [hour.most for hour in hours()] == list(range(1, 13))


def test_hours_are_kept_for_ninety_days() -> None:
    look(0, a=1)
    look(60 * 24, a=2)
    queue_hours.add_up(START + timedelta(days=2))
    queue_hours.sweep(START + timedelta(days=90, seconds=1))
    assert [hour.most for hour in hours()] == [2]
    queue_hours.sweep(START + timedelta(days=92))
    assert not QueueHour.objects.exists()


def test_beat_has_hours_added_and_what_is_old_removed(own_broker: MessageBus) -> None:
    old = utc_now() - timedelta(days=8)
    QueueLook.objects.create(at=old)
    handlers.look_at_queues({})
    assert QueueHour.objects.get().looks == 1
    handlers.look_at_queues({})
    assert not QueueLook.objects.filter(at=old).exists()
    assert QueueLook.objects.count() == 2


def test_the_oldest_of_each_priority_is_kept(own_broker: MessageBus) -> None:
    registry.register(a_registration("billing", "billing-1"), said_at=NOW, now=NOW)
    sender = ServiceCommunicator("shop", config=own_broker.config)
    for priority in ("HIGH", "LOW"):
        sender.send_to_service("billing", "order", {}, priority=priority)
    queues.look(own_broker, NOW)
    depth = queues.last()[1]["billing"]
    assert depth.oldest_by_priority is not None
    assert set(depth.oldest_by_priority) == {MessagePriority.HIGH, MessagePriority.LOW}
    assert max(depth.oldest_by_priority.values()) == depth.oldest_seconds
    QueueDepth.objects.update(oldest_by_priority_json="")
    assert queues.last()[1]["billing"].oldest_by_priority is None


def flowed(minutes: int, count: int) -> None:
    sums = {"resolution": "hour", "at": START + timedelta(minutes=minutes), "count": count}
    texts = {"priority": "HIGH", "waiting_json": "[]", "handling_json": "[]", "total_json": "[]"}
    FlowOverall.objects.create(**sums, **texts)
    FlowSummary.objects.create(**sums, **texts, target="a", type="x", kind="command")


def test_ninety_days_are_drawn_from_hours_and_from_looks_that_are_not_added_yet() -> None:
    step = SCALES["90d"].step
    first = START.replace(hour=0)
    back = int((START - first).total_seconds() / 60)
    look(-back, a={"LOW": 9}, b={"LOW": 1})
    look(-back + 60, a={"LOW": 4, "HIGH": 8})
    look(-back + 90, a={"LOW": 3})
    flowed(-back, 21_600)
    flowed(-back + 60, 21_600)
    queue_hours.add_up(first + 3 * HOUR)
    QueueLook.objects.all().delete()
    look(-back + 350, a={"LOW": 2})  # stays a look
    look(-back + 360, a={"LOW": 3})
    flowed(-back + 360, 10_800)
    now = first + timedelta(hours=13)
    points = Histories().points("a", "90d", now)
    assert len(points) == 360
    assert [point.at for point in points[-3:]] == [first, first + step, first + 2 * step]
    assert points[-3].waiting == {"LOW": 4, "HIGH": 8}
    assert [point.last for point in points[-3:]] == [2, 3, None]
    assert [point.handled for point in points[-3:]] == [43_200, 10_800, None]
    assert rates(points, step)[-2].came == pytest.approx((10_800 + 1) / step.total_seconds())
    assert Histories().points("", "90d", now)[-3].total == 12
    assert points[-4].waiting is None
    queue_hours.add_up(now)
    assert Histories().points("a", "90d", now) == points


def test_ninety_days_of_what_the_broker_does_not_split_are_one_band() -> None:
    look(0, a=5)
    queue_hours.add_up(OVER)
    points = Histories().points("", "90d", START + 6 * HOUR)
    assert bands(points) == (ALL,)
    assert [point.total for point in points if point.waiting is not None] == [5]
