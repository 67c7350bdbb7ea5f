"""The Redis transport: where its connection was lost, and what becomes of a delivery."""

import uuid
from collections.abc import Iterator

import pytest
from kombu import Connection, Consumer, Message
from redis.exceptions import ConnectionError

from messaging import MessageBus, MessagingConfig, ServiceCommunicator
from messaging.brokers import REDIS_TRANSPORT, SENTINEL_TRANSPORT, profile_for
from tests.support.brokers import BROKERS, require


@pytest.fixture
def bus() -> Iterator[MessageBus]:
    """A bus with a namespace of its own, and three queues that are bound to ``happened.#``."""
    require(BROKERS["redis"])
    namespace = f"t{uuid.uuid4().hex[:10]}"
    bus = MessageBus(MessagingConfig(broker_url=BROKERS["redis"].url, namespace=namespace))
    with bus.connection() as connection:
        channel = connection.channel()
        for name in ("a", "b", "c"):
            bus.topology.worker_queue(name, ["happened.#"])(channel).declare()
        yield bus
        client = channel.client
        for key in client.scan_iter(f"{namespace}:*"):
            client.delete(key)
    bus.close()


def taken(bus: MessageBus, connection: Connection, name: str) -> list[Message]:
    """Take what waits in a queue, and hold it."""
    messages: list[Message] = []
    queue = bus.topology.worker_queue(name, ["happened.#"])
    with Consumer(connection.channel(), [queue], on_message=messages.append):
        connection.drain_events(timeout=5)
    return messages


def waiting(bus: MessageBus) -> dict[str, int | None]:
    with bus.publisher() as publisher:
        return {name: publisher.queue_length(name) for name in ("a", "b", "c")}


def test_a_channel_whose_connection_was_closed_says_so_with_a_connection_error() -> None:
    """An AttributeError of kombu's ended workers: what was lost is what they connect anew for."""
    require(BROKERS["redis"])
    connection = Connection(BROKERS["redis"].url, transport=REDIS_TRANSPORT)
    channel = connection.channel()
    channel._kept_client = channel._kept_pool = None
    transport = channel.connection
    transport.client = None
    with pytest.raises(ConnectionError), channel.conn_or_acquire():
        pass
    assert issubclass(ConnectionError, connection.connection_errors)


def test_a_broadcast_that_is_given_back_stays_with_that_service(bus: MessageBus) -> None:
    """kombu puts it into the queues of all subscribers once more."""
    ServiceCommunicator("tester", config=bus.config).broadcast("happened.now", {})
    with bus.connection() as connection:
        (message,) = taken(bus, connection, "a")
        assert waiting(bus) == {"a": 0, "b": 1, "c": 1}
        message.reject(requeue=True)
        assert waiting(bus) == {"a": 1, "b": 1, "c": 1}


def test_a_copy_that_another_service_has_acknowledged_is_not_lost(bus: MessageBus) -> None:
    """kombu notes all copies under one tag: the first ack took the note of the others away."""
    ServiceCommunicator("tester", config=bus.config).broadcast("happened.now", {})
    with bus.connection() as mine, bus.connection() as other:
        (held,) = taken(bus, mine, "a")
        (handled,) = taken(bus, other, "b")
        handled.ack()
        held.reject(requeue=True)
        assert waiting(bus) == {"a": 1, "b": 0, "c": 1}


def test_what_was_delivered_again_is_not_settled_by_whoever_had_it_first(bus: MessageBus) -> None:
    """Beyond the visibility timeout two have it; the note is that of the second."""
    ServiceCommunicator("tester", config=bus.config).send_to_service("a", "work", {})
    with bus.connection() as slow, bus.connection() as next_one:
        (late,) = taken(bus, slow, "a")
        late.channel.qos.restore_by_tag(late.delivery_tag)  # as its timeout does
        (again,) = taken(bus, next_one, "a")
        late.ack()
        again.reject(requeue=True)
        assert waiting(bus)["a"] == 1


def test_sentinels_transport_tells_deliveries_apart_as_well() -> None:
    profile = profile_for("sentinel://127.0.0.1:26379/0")
    assert profile.transport == SENTINEL_TRANSPORT
    transport_class = Connection(
        "sentinel://127.0.0.1:26379/0", transport=SENTINEL_TRANSPORT
    ).get_transport_cls()
    plain = Connection(BROKERS["redis"].url, transport=REDIS_TRANSPORT).get_transport_cls()
    assert transport_class._deliver is plain._deliver
