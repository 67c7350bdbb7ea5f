"""What callers see when there is no broker, or one that accepts connections and says nothing."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from django.db import transaction

from messaging import (
    BrokerUnavailable,
    MessagePriority,
    MessagingConfig,
    ServiceCommunicator,
    codec,
)
from messaging.clock import SYSTEM_CLOCK
from messaging.models import OutboxMessage

KEPT = [MessagePriority.NORMAL, MessagePriority.HIGH, MessagePriority.CRITICAL]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=["amqp://guest:guest@127.0.0.1:{port}//", "redis://127.0.0.1:{port}/0"])
def nowhere(request: pytest.FixtureRequest) -> Iterator[ServiceCommunicator]:
    """A communicator whose broker refuses connections."""
    url = request.param.format(port=free_port())
    communicator = ServiceCommunicator("sender", config=MessagingConfig(broker_url=url))
    yield communicator
    communicator.close()


@pytest.fixture(params=["amqp://guest:guest@127.0.0.1:{port}//", "redis://127.0.0.1:{port}/0"])
def mute(request: pytest.FixtureRequest) -> Iterator[ServiceCommunicator]:
    """A communicator whose broker takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        url = request.param.format(port=server.getsockname()[1])
        config = MessagingConfig(broker_url=url, broker_timeout_seconds=1.0)
        communicator = ServiceCommunicator("sender", config=config)
        yield communicator
        communicator.close()


@pytest.mark.django_db
@pytest.mark.parametrize("priority", KEPT)
def test_normal_and_up_are_kept_in_the_outbox(
    nowhere: ServiceCommunicator, priority: MessagePriority
) -> None:
    message_id = nowhere.send_to_service("user-service", "work", {"n": 1}, priority=priority)
    row = OutboxMessage.objects.get(message_id=message_id)
    assert (row.target, row.type, row.priority) == ("user-service", "work", priority.value)
    assert row.last_error or row.under_custody  # custody does not try first
    envelope = codec.decode(row.envelope)
    assert (envelope.id, envelope.data) == (message_id, {"n": 1})


@pytest.mark.django_db
def test_a_broadcast_is_kept_for_all(nowhere: ServiceCommunicator) -> None:
    message_id = nowhere.broadcast("document.created", {})
    assert OutboxMessage.objects.get(message_id=message_id).target == ""


@pytest.mark.django_db
def test_what_is_kept_rolls_back_with_the_callers_transaction(
    nowhere: ServiceCommunicator,
) -> None:
    with transaction.atomic():
        nowhere.send_to_service("user-service", "work", {})
        assert OutboxMessage.objects.count() == 1
        transaction.set_rollback(True)
    assert OutboxMessage.objects.count() == 0


@pytest.mark.django_db
def test_low_and_requests_fail_within_5_seconds_and_say_that_nothing_was_sent(
    nowhere: ServiceCommunicator,
) -> None:
    began = SYSTEM_CLOCK.monotonic()
    with pytest.raises(BrokerUnavailable):
        nowhere.send_to_service("user-service", "work", {}, priority=MessagePriority.LOW)
    assert SYSTEM_CLOCK.monotonic() - began < 5
    with pytest.raises(BrokerUnavailable):
        nowhere.request("user-service", "work", {}, timeout=2)
    assert SYSTEM_CLOCK.monotonic() - began < 10
    assert OutboxMessage.objects.count() == 0


def test_a_mute_broker_is_given_up_in_bounded_time(mute: ServiceCommunicator) -> None:
    began = SYSTEM_CLOCK.monotonic()
    with pytest.raises(BrokerUnavailable):
        mute.send_to_service("user-service", "work", {}, priority=MessagePriority.LOW)
    assert SYSTEM_CLOCK.monotonic() - began < 5


@pytest.mark.django_db(transaction=True)
def test_an_event_loop_may_send_without_a_broker(nowhere: ServiceCommunicator) -> None:
    async def send() -> str:
        return nowhere.send_to_service("user-service", "work", {})

    message_id = asyncio.run(send())
    assert OutboxMessage.objects.filter(message_id=message_id).exists()


@pytest.mark.django_db
def test_a_delayed_message_needs_no_broker_to_be_accepted(nowhere: ServiceCommunicator) -> None:
    message_id = nowhere.send_to_service("user-service", "work", {}, delay=60)
    row = OutboxMessage.objects.get(message_id=message_id)
    assert row.due_at is not None
    assert 59 < (row.due_at - row.created_at).total_seconds() <= 60
    with pytest.raises(ValueError, match="delay"):
        nowhere.send_to_service("user-service", "work", {}, delay=-1)
