"""What becomes of a delivery on Redis: noted as it is taken, and given back where it was."""

import contextlib
import multiprocessing
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Consumer, Message
from kombu.utils.json import loads

from messaging import MessageBus, MessagingConfig, ServiceCommunicator, redis_deliveries
from messaging.clock import SYSTEM_CLOCK
from tests.support.brokers import BROKERS, require
from tests.support.waiting import eventually


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


def send(bus: MessageBus, **data: Any) -> None:
    """Send a command to ``a``; its priority may be among the data."""
    with contextlib.closing(ServiceCommunicator("tester", config=bus.config)) as sender:
        sender.send_to_service("a", "work", data, priority=data.get("priority", "NORMAL"))


def broadcast(bus: MessageBus) -> None:
    with contextlib.closing(ServiceCommunicator("tester", config=bus.config)) as sender:
        sender.broadcast("happened.now", {})


def keys(bus: MessageBus, name: str) -> str:
    return f"{bus.config.namespace}:{name}"


def test_a_broadcast_that_is_given_back_stays_with_that_service(bus: MessageBus) -> None:
    """kombu puts it into the queues of all subscribers once more."""
    broadcast(bus)
    with bus.connection() as connection:
        (message,) = taken(bus, connection, "a")
        assert waiting(bus) == {"a": 0, "b": 1, "c": 1}
        message.reject(requeue=True)
        assert waiting(bus) == {"a": 1, "b": 1, "c": 1}


def test_a_copy_that_another_service_has_acknowledged_is_not_lost(bus: MessageBus) -> None:
    """kombu notes all copies under one tag: the first ack took the note of the others away."""
    broadcast(bus)
    with bus.connection() as mine, bus.connection() as other:
        (held,) = taken(bus, mine, "a")
        (handled,) = taken(bus, other, "b")
        handled.ack()
        held.reject(requeue=True)
        assert waiting(bus) == {"a": 1, "b": 0, "c": 1}


def test_what_was_delivered_again_is_not_settled_by_whoever_had_it_first(bus: MessageBus) -> None:
    """Beyond the visibility timeout two have it; the note is that of the second."""
    send(bus)
    with bus.connection() as slow, bus.connection() as next_one:
        (late,) = taken(bus, slow, "a")
        late.channel.qos.restore_by_tag(late.delivery_tag)  # as its timeout does
        (again,) = taken(bus, next_one, "a")
        late.ack()
        again.reject(requeue=True)
        assert waiting(bus)["a"] == 1


def test_a_queue_is_bound_again_by_the_connection_that_had_bound_it(bus: MessageBus) -> None:
    """kombu remembers the binding, and does nothing; what Redis has is gone since."""
    with bus.connection() as connection:
        channel = connection.channel()
        queue = bus.topology.worker_queue("a", ["happened.#"])(channel)
        queue.declare()
        for key in channel.client.keys(keys(bus, "_kombu.binding.*")):
            channel.client.delete(key.decode().removeprefix(keys(bus, "")))
        broadcast(bus)
        assert waiting(bus)["a"] == 0
        queue.declare()
        broadcast(bus)
        assert waiting(bus)["a"] == 1


def _take_and_die(bus: MessageBus) -> None:
    def die(_raw: bytes) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    redis_deliveries._read = die  # type: ignore[assignment]
    with bus.connection() as connection:
        taken(bus, connection, "a")


def test_what_a_process_had_just_been_given_when_it_was_killed_is_in_the_notes(
    bus: MessageBus,
) -> None:
    """kombu's is lost: it is off the list, and the note would have been next."""
    send(bus)
    process = multiprocessing.get_context("fork").Process(target=_take_and_die, args=(bus,))
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert waiting(bus)["a"] == 0
    with bus.connection() as connection:
        channel = connection.channel()
        (tag,) = channel.client.zrange(channel.unacked_index_key, 0, -1)
        channel.qos.restore_by_tag(tag.decode())  # as the visibility timeout does
        assert waiting(bus)["a"] == 1
        (message,) = taken(bus, connection, "a")
        assert message.delivery_info["redelivered"]


def _look_and_die(bus: MessageBus) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with bus.connection() as connection:
        qos = connection.channel().qos
        qos.restore_by_tag = die
        qos.restore_visible()


def test_one_that_is_killed_while_it_gives_back_keeps_the_others_from_it_for_seconds(
    bus: MessageBus,
) -> None:
    """kombu's lock lasts 300 s: so long nothing of any killed worker was handled."""
    with bus.connection() as connection:
        channel = connection.channel()
        channel.client.zadd(channel.unacked_index_key, {"tag": 1})
        process = multiprocessing.get_context("fork").Process(target=_look_and_die, args=(bus,))
        process.start()
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
        assert 0 < channel.client.ttl(keys(bus, channel.unacked_mutex_key)) <= 5


def test_what_is_not_acknowledged_by_anybody_is_not_noted(bus: MessageBus) -> None:
    send(bus)
    queue = bus.topology.worker_queue("a", ["happened.#"])
    with bus.connection() as connection:
        messages: list[Message] = []
        channel = connection.channel()
        with Consumer(channel, [queue], no_ack=True, on_message=messages.append):
            connection.drain_events(timeout=5)
        assert len(messages) == 1
        assert channel.client.hlen(channel.unacked_key) == 0


def test_the_most_urgent_is_taken_first_and_in_order(bus: MessageBus) -> None:
    for number, priority in enumerate(("LOW", "NORMAL", "HIGH", "NORMAL", "HIGH")):
        send(bus, n=number, priority=priority)
    with bus.connection() as connection:
        order = [taken(bus, connection, "a")[0] for _ in range(5)]
    assert [loads(message.body)[0][0]["data"]["n"] for message in order] == [2, 4, 1, 3, 0]


def test_one_who_waits_is_woken_by_what_is_put_in(bus: MessageBus) -> None:
    with bus.connection() as connection:
        messages: list[Message] = []
        channel = connection.channel()
        channel.brpop_timeout = 30  # the bell has to wake it
        queue = bus.topology.worker_queue("a", ["happened.#"])
        with Consumer(channel, [queue], on_message=messages.append):
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.2)
            began = SYSTEM_CLOCK.monotonic()
            send(bus)
            connection.drain_events(timeout=20)
        assert len(messages) == 1
        assert SYSTEM_CLOCK.monotonic() - began < 10


def test_what_was_put_in_without_ringing_is_found_as_well(bus: MessageBus) -> None:
    """By a client that knows kombu's lists and no bells, or one whose bell nobody heard."""
    send(bus)
    with bus.connection() as connection:
        client = connection.channel().client
        client.delete(f"a{connection.channel().sep}bell")
        assert len(taken(bus, connection, "a")) == 1
        client.lpush("a", client.lindex(keys(bus, "a"), 0) or b"no JSON")
        assert len(taken(bus, connection, "a")) == 1


def test_bells_are_not_kept_for_those_who_never_come(bus: MessageBus) -> None:
    for _ in range(redis_deliveries._LOUDNESS + 5):
        send(bus)
    with bus.connection() as connection:
        channel = connection.channel()
        bell = f"a{channel.sep}bell"
        assert channel.client.llen(bell) == redis_deliveries._LOUDNESS
        assert 0 < channel.client.pttl(keys(bus, bell)) <= redis_deliveries._HEARD_MILLISECONDS
        queue = bus.topology.worker_queue("a", ["happened.#"])(channel)
        queue.declare()
        queue.delete()
        assert not channel.client.exists(keys(bus, bell))


@pytest.mark.parametrize("raw", [b"no JSON", b"[1, 2]", b'{"properties": {}}', b"\xff\xfe"])
def test_what_is_no_message_is_given_to_be_parked_also_after_a_death(
    bus: MessageBus, raw: bytes
) -> None:
    with bus.connection() as connection:
        channel: Any = connection.channel()
        channel.client.lpush("a", raw)
        (message,) = taken(bus, connection, "a")
        assert message.body == raw.decode(errors="replace").encode()
        message.ack()
        assert channel.client.hlen(channel.unacked_key) == 0

        # As the script notes it, whose process died then.
        channel.client.hset(channel.unacked_key, "tag", b"[" + raw + b', "", "a"]')
        channel.client.zadd(channel.unacked_index_key, {"tag": 0})
        channel.qos.restore_by_tag("tag")
        assert channel.client.hlen(channel.unacked_key) == 0
        assert len(taken(bus, connection, "a")) == 1


def test_an_answer_that_a_broken_connection_does_not_bring_is_given_back(bus: MessageBus) -> None:
    send(bus)
    with bus.connection() as connection:
        channel: Any = connection.channel()
        queue = bus.topology.worker_queue("a", ["happened.#"])
        with Consumer(channel, [queue], on_message=print):
            channel.connection.cycle.on_poll_start()  # the script is sent
            eventually(lambda: waiting(bus)["a"] == 0)
            sock = channel.client.connection._sock
            sock.recv(65536)  # the answer, which is lost
            sock.shutdown(socket.SHUT_RDWR)
            with pytest.raises(connection.connection_errors):
                channel._brpop_read()
        assert waiting(bus)["a"] == 1
