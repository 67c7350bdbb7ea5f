"""The history of what waited."""

import re
from datetime import timedelta

import pytest

from gateway_app import registry
from gateway_app.flow import queue_hours, queues
from gateway_app.http import metrics
from gateway_app.models import QueueDepth, QueueLook
from messaging import MessageBus, MessagePriority, MessagingConfig, ServiceCommunicator
from messaging.depths import NOTHING
from messaging.errors import BrokerUnavailable
from tests.gateway_app.registry.test_registry import NOW, a_registration

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def services() -> None:
    for name in ("billing", "idle"):
        registry.register(a_registration(name, f"{name}-1"), said_at=NOW, now=NOW)


def test_each_look_is_kept_and_an_idle_service_costs_nothing(own_broker: MessageBus) -> None:
    sender = ServiceCommunicator("shop", config=own_broker.config)
    queues.look(own_broker, NOW)
    for priority in ("HIGH", "HIGH", "LOW"):
        sender.send_to_service("billing", "order", {}, priority=priority)
    later = NOW + timedelta(seconds=30)
    queues.look(own_broker, later)
    (empty, first), (at, second) = queues.between("billing", NOW, NOW + timedelta(minutes=1))
    assert (empty, first, at) == (NOW, NOTHING, later)
    assert (second.waiting, second.by_priority) == (
        3,
        {MessagePriority.HIGH: 2, MessagePriority.LOW: 1},
    )
    assert second.oldest_seconds is not None
    assert QueueDepth.objects.count() == 1
    assert [depth for _, depth in queues.between("idle", NOW, later)] == [NOTHING]


def test_a_broker_that_does_not_answer_leaves_a_gap() -> None:
    nowhere = MessageBus(MessagingConfig(broker_url="amqp://127.0.0.1:1//"))
    with pytest.raises(BrokerUnavailable):
        queues.look(nowhere, NOW)
    assert not QueueLook.objects.exists()


def test_a_week_is_kept(own_broker: MessageBus) -> None:
    queues.look(own_broker, NOW)
    ServiceCommunicator("shop", config=own_broker.config).send_to_service("billing", "x", {})
    queues.look(own_broker, NOW + timedelta(days=1))
    queue_hours.add_up(NOW + timedelta(days=2))
    queues.sweep(NOW + timedelta(days=7, seconds=1))
    assert QueueLook.objects.count() == QueueDepth.objects.count() == 1
    queues.sweep(NOW + timedelta(days=9))
    assert not QueueDepth.objects.exists()


def test_the_last_look_is_there_for_prometheus(own_broker: MessageBus) -> None:
    assert "bus_queue_waiting{" not in metrics.render().decode()
    sender = ServiceCommunicator("shop", config=own_broker.config)
    sender.send_to_service("billing", "order", {}, priority="HIGH")
    queues.look(own_broker, NOW)
    text = metrics.render().decode()
    assert 'bus_queue_waiting{priority="HIGH",service="billing"} 1.0' in text
    assert 'bus_queue_oldest_seconds{service="billing"}' in text
    looked_at = re.search(r"^bus_queues_looked_at_timestamp_seconds (\S+)$", text, re.MULTILINE)
    assert looked_at is not None
    assert float(looked_at[1]) == pytest.approx(NOW.timestamp())
    assert not re.search(r'^bus_queue_.*service="idle"', text, re.MULTILINE)


def test_counts_have_a_place_for_every_look() -> None:
    for number, waiting in enumerate([3, 0, 7]):
        kept = QueueLook.objects.create(at=NOW + timedelta(seconds=30 * number))
        if waiting:
            QueueDepth.objects.create(look=kept, service="a", waiting=waiting)
    ended_at = NOW + timedelta(minutes=5)
    assert queues.counts_between(NOW, ended_at) == {"a": [3, 0, 7]}
    assert queues.counts_between(ended_at, ended_at + timedelta(minutes=1)) == {}


@pytest.mark.parametrize(
    ("series", "grows"),
    [
        ([0, 5, 10, 20], True),
        ([10, 40, 2, 30, 25], False),  # up and down
        ([0, 3, 6, 9], False),  # not worth a word
        ([20, 10, 0], False),
    ],
)
def test_a_queue_grows_if_it_does_nearly_all_the_time(series: list[int], grows: bool) -> None:
    for number, waiting in enumerate(series):
        kept = QueueLook.objects.create(at=NOW - timedelta(seconds=30 * (len(series) - number)))
        QueueDepth.objects.create(look=kept, service="a", waiting=waiting)
    assert queues.growing(NOW) == ({"a": (series[-1] - series[0]) / 10} if grows else {})
