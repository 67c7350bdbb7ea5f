import uuid
from collections.abc import Iterator

import pytest
from kombu import Connection, Queue

from gateway_app import traps
from gateway_app.bus import communicator
from gateway_app.doctor import queues
from messaging import MessageBus, MessagePriority
from messaging.compose import Composer
from messaging.envelope import MessageKind, utc_now
from tests.gateway_app.doctor.conftest import OnBroker
from tests.gateway_app.doctor.found import findings, ids
from tests.gateway_app.registry.test_registry import after, register
from tests.support.brokers import BROKERS, require
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def send(bus: MessageBus, target: str) -> None:
    envelope = Composer("tester").compose(
        MessageKind.COMMAND, "work", {}, target=target, priority=MessagePriority.NORMAL
    )
    bus.publish(envelope)


def test_messages_for_a_service_that_runs_are_its_own_affair(own_broker: MessageBus) -> None:
    register("busy", at=utc_now())
    send(own_broker, "busy")
    assert ids(queues.look) == set()


def test_messages_for_a_service_that_nobody_runs_are_found(own_broker: MessageBus) -> None:
    register("sleeper", at=after(-3600))
    assert ids(queues.look) == set()
    send(own_broker, "sleeper")
    assert ids(queues.look) == {traps.NOBODY_TAKES.id}


def test_messages_for_a_misspelled_name_are_found() -> None:
    communicator.send_to_service("docment-service", "work", {}, priority=MessagePriority.CRITICAL)
    eventually(lambda: ids(queues.look) == {traps.NOBODY_TAKES.id})
    assert "never registered" in " ".join(finding.text for finding in findings(queues.look))


@pytest.fixture
def rabbitmq(on_broker: OnBroker) -> Iterator[MessageBus]:
    """A namespace of its own on RabbitMQ."""
    require(BROKERS["amqp"])
    bus = on_broker(BROKERS["amqp"].url, namespace=f"t{uuid.uuid4().hex[:10]}")
    yield bus
    with bus.connection() as connection:
        connection.channel().queue_delete(bus.topology.queue_name("api-gateway"))


def exists(bus: MessageBus, queue: str) -> bool:
    with Connection(bus.config.broker_url) as connection:
        try:
            connection.channel().queue_declare(queue, passive=True)
        except connection.channel_errors:
            return False
    return True


def test_a_queue_that_rabbitmq_has_with_other_arguments_is_found(rabbitmq: MessageBus) -> None:
    name = rabbitmq.topology.queue_name("api-gateway")
    with rabbitmq.connection() as connection:
        Queue(name, durable=True, max_priority=3)(connection.channel()).declare()
    assert ids(queues.look) == {traps.QUEUE_ARGUMENTS.id}


def test_queues_as_workers_declare_them_are_fine_and_none_is_made(rabbitmq: MessageBus) -> None:
    assert ids(queues.look) == set()
    assert not exists(rabbitmq, rabbitmq.topology.queue_name("api-gateway"))
    with rabbitmq.connection() as connection:
        rabbitmq.topology.service_queue("api-gateway")(connection.channel()).declare()
    assert ids(queues.look) == set()
