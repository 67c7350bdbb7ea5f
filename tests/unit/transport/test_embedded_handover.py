"""Messages that go to their one reader's socket and never touch the file."""

from typing import Any

import pytest

from messaging.transport.errors import NoRoute


@pytest.fixture
def reader(connection):
    """A consumer of the exclusive queue `replies`; call it to drain until so many have come."""
    channel = connection.channel()
    channel.queue_declare("replies", exclusive=True, auto_delete=True)
    seen: list[Any] = []
    channel.basic_consume("replies", no_ack=True, callback=lambda m: seen.append(m.payload))

    def read(count):
        while len(seen) < count:
            connection.drain_events(timeout=5)
        return seen

    read.channel = channel  # type: ignore[attr-defined]
    return read


def stored(broker):
    return broker.store.read("SELECT next_id FROM meta")[0][0] - 1


def test_a_message_is_handed_over_without_a_write(reader, send, broker):
    send({"answer": 42}, "replies", handover="direct")
    assert reader(1) == [{"answer": 42}]
    assert stored(broker) == 0


def test_bytes_arrive_as_bytes(reader, connect, connection):
    producer = connect().Producer()
    seen: list[Any] = []
    reader.channel.queue_declare("raw", exclusive=True)
    reader.channel.basic_consume("raw", no_ack=True, callback=lambda m: seen.append(m.body))
    producer.publish(
        b"\x00\xff",
        routing_key="raw",
        handover="direct",
        content_type="application/octet-stream",
        content_encoding="binary",
    )
    connection.drain_events(timeout=5)
    assert seen == [b"\x00\xff"]


def test_a_message_larger_than_a_datagram_goes_through_the_file(reader, send, broker):
    send("x" * 100_000, "replies", handover="direct")
    assert reader(1) == ["x" * 100_000]
    assert stored(broker) == 1


def test_when_the_socket_is_full_the_rest_goes_through_the_file(reader, send, broker):
    for number in range(600):  # the kernel queues 10 for a socket, 512 where it is set higher
        send(number, "replies", handover="direct")
    assert sorted(reader(600)) == list(range(600))
    assert 0 < stored(broker) < 600


def test_others_use_the_file(channel, send, broker):
    channel.queue_declare("work")
    send("nobody consumes", handover="direct")
    channel.basic_consume("work", callback=print)
    send("who consumes acknowledges", handover="direct")
    channel.queue_declare("exclusive", exclusive=True)
    channel.basic_consume("exclusive", callback=print)
    send("acknowledges as well", "exclusive", handover="direct")
    assert stored(broker) == 3


def test_to_a_reader_that_left_a_mandatory_message_is_no_route(reader, send, connection):
    send("before", "replies", handover="direct")
    assert reader(1) == ["before"]
    connection.close()
    with pytest.raises(NoRoute):
        send("after", "replies", handover="direct", mandatory=True)


def test_to_a_queue_its_reader_has_left_a_message_is_dropped_as_with_the_queue(
    reader, send, connection, broker
):
    send("before", "replies", handover="direct")
    assert reader(1) == ["before"]
    # The sender still believes in it: nothing makes it look.
    connection.transport.consumption._intake.consumers.clear()
    send("after", "replies", handover="direct")
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0)


def test_a_message_that_expires_in_the_socket_is_not_delivered(reader, send, connection, clock):
    send("late", "replies", handover="direct", expiration=10)
    clock.advance(20)
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0)
