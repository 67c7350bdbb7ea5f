"""Order, delay, expiry, settling, and what comes back."""

import socket
from datetime import UTC, datetime
from typing import Any

import pytest
from kombu import Queue

from messaging.transport import leases, maintenance
from messaging.transport.errors import PreconditionFailed


@pytest.fixture(autouse=True)
def _queue(channel):
    channel.queue_declare("work", durable=True)


def received(connection, count, **options):
    """Consume and ack that many messages; return them."""
    messages = []

    def take(_body, message):
        messages.append(message)
        message.ack()

    with connection.Consumer([Queue("work", durable=True)], callbacks=[take], **options):
        for _ in range(count):
            connection.drain_events(timeout=5)
    return messages


def test_more_urgent_first_and_fifo_inside_one_priority(channel, send, bodies):
    for number, priority in enumerate([3, 9, 0, 9, 3, None, 5]):
        send(f"{priority}-{number}", priority=priority)
    assert bodies(channel) == ["9-1", "9-3", "5-6", "3-0", "3-4", "0-2", "None-5"]


def test_priority_holds_from_claim_to_claim(connection, send):
    for number in range(6):
        send(f"low-{number}", priority=1)
    connection.default_channel.basic_qos(prefetch_count=2)
    seen: list[Any] = []

    def take(body, message):
        if not seen:
            send("urgent", priority=9)
        seen.append(body)
        message.ack()

    with connection.Consumer([Queue("work", durable=True)], callbacks=[take]):
        for _ in range(7):
            connection.drain_events(timeout=5)
    assert seen.index("urgent") == 2  # after the two that were claimed with the first
    assert seen[-1] == "low-5"


def test_one_call_of_drain_events_delivers_one_message(connection, send):
    send(1)
    send(2)
    seen: list[Any] = []
    with connection.Consumer(
        [Queue("work", durable=True)], callbacks=[lambda body, _: seen.append(body)], no_ack=True
    ):
        connection.drain_events(timeout=5)
        assert seen == [1]


def test_prefetch_limits_what_is_held_and_an_ack_opens_the_window(connection, connect, send):
    for number in range(5):
        send(number)
    connection.default_channel.basic_qos(prefetch_count=2)
    held = []
    with connection.Consumer(
        [Queue("work", durable=True)], callbacks=[lambda _, message: held.append(message)]
    ):
        connection.drain_events(timeout=5)
        connection.drain_events(timeout=5)
        with pytest.raises(socket.timeout):
            connection.drain_events(timeout=0.05)
        assert connect().channel().queue_declare("work", passive=True).message_count == 3
        held[0].ack()
        connection.drain_events(timeout=5)
        assert len(held) == 3


def test_a_waiting_message_ages_one_level_per_period_but_never_to_critical(
    channel, send, bodies, broker, clock
):
    send("low", priority=0)
    send("urgent", priority=9)
    (queue_id,) = broker.store.read("SELECT id FROM queue")[0]

    def age():
        with broker.store.transaction(busy_seconds=5) as db:
            return maintenance.age_messages(db, queue_id, clock.now(), 60.0)

    assert age() == 0
    levels = []
    for _ in range(9):
        clock.advance(60.5)
        age()
        levels += [9 - row[0] for row in broker.store.read("SELECT max(prio) FROM ready")]
    assert levels == [1, 2, 3, 4, 5, 6, 6, 6, 6]
    send("high", priority=6)
    assert bodies(channel) == ["urgent", "low", "high"]  # the older first among equals
    send("alone", priority=0)
    clock.advance(600)
    assert age() == 0  # nothing more urgent waits


def test_ageing_moves_a_bounded_number_of_messages_in_one_pass(channel, broker, clock, connect):
    producer = connect().Producer()
    with producer.channel.batch():
        for number in range(1200):
            producer.publish(number, routing_key="work", priority=1)
        producer.publish("urgent", routing_key="work", priority=9)
    (queue_id,) = broker.store.read("SELECT id FROM queue")[0]
    clock.advance(61)
    with broker.store.transaction(busy_seconds=5) as db:
        assert maintenance.age_messages(db, queue_id, clock.now(), 60.0) == maintenance.BATCH


def test_a_delayed_message_comes_when_due_and_not_before(connection, send):
    send("late", headers={"x-delay": 150})
    with pytest.raises(socket.timeout):
        connection.drain_events(timeout=0.01)
    began = connection.transport.broker.store.clock.monotonic()
    (message,) = received(connection, 1)
    assert message.payload == "late"
    assert connection.transport.broker.store.clock.monotonic() - began < 1.0


def test_due_messages_are_promoted_in_order(channel, send, bodies, broker, clock):
    send("second", headers={"x-delay": 20_000})
    send("first", headers={"x-delay": 10_000})
    assert bodies(channel) == []
    clock.advance(30)
    with broker.store.transaction(busy_seconds=5) as db:
        leases.promote(db, clock.now(), 10)
    assert bodies(channel) == ["second", "first"]  # both due: by id, as they were sent


def test_an_expired_message_is_never_delivered(channel, send, bodies, broker, clock):
    send("short", expiration=10)
    send("long", expiration=100)
    clock.advance(50)
    assert bodies(channel) == ["long"]


def test_a_message_that_expires_in_the_buffer_is_not_delivered(connection, send, clock):
    send("first")
    send("second", expiration=10)
    send("third")
    seen = []

    def take(body, message):
        seen.append(body)
        message.ack()
        clock.advance(20)

    with connection.Consumer([Queue("work", durable=True)], callbacks=[take]):
        connection.drain_events(timeout=5)
        connection.drain_events(timeout=5)
    assert seen == ["first", "third"]


def test_expired_messages_are_swept_wherever_they_wait(channel, send, broker, clock):
    channel.queue_declare("ttl", arguments={"x-message-ttl": 10_000})
    send("by queue", "ttl")
    send("by message", expiration=10)
    send("hidden behind urgent ones", expiration=10, priority=0)
    send("stays", priority=9)
    clock.advance(11)
    with broker.store.transaction(busy_seconds=5) as db:
        assert maintenance.expire_messages(db, clock.now()) == 3
    assert broker.store.read("SELECT count(*) FROM message") == [(1,)]
    assert broker.store.read("SELECT count(*) FROM ready") == [(1,)]


def test_reject_with_requeue_goes_to_the_head_and_counts(channel, send):
    send("a")
    send("b")
    first = channel.basic_get("work")
    assert (first.delivery_info["redelivered"], first.delivery_info["delivery_count"]) == (
        False,
        0,
    )
    first.requeue()
    again = channel.basic_get("work")
    assert again.payload == "a"
    assert (again.delivery_info["redelivered"], again.delivery_info["delivery_count"]) == (True, 1)
    assert again.headers["x-delivery-count"] == 1


def test_reject_without_requeue_deletes(channel, send, bodies, broker):
    send("bad")
    channel.basic_get("work").reject()
    assert bodies(channel) == []
    assert broker.store.read("SELECT count(*) FROM message") == [(0,)]


def test_recover_and_close_give_back_what_is_unsettled_in_order(connection, channel, send, bodies):
    for number in range(3):
        send(number)
    for _ in range(3):
        channel.basic_get("work")
    channel.basic_recover(requeue=True)
    assert channel.basic_get("work").payload == 0
    channel.close()
    assert bodies(connection.channel()) == [0, 1, 2]


def test_what_was_buffered_and_never_handed_over_does_not_count_as_delivered(
    connection, connect, send
):
    for number in range(3):
        send(number)
    consumer = connection.Consumer([Queue("work", durable=True)], callbacks=[lambda *_: None])
    consumer.consume()
    connection.drain_events(timeout=5)
    connection.close()
    other = connect().channel()
    counts = [other.basic_get("work").delivery_info["delivery_count"] for _ in range(3)]
    assert counts == [1, 0, 0]


def test_ack_multiple_settles_what_was_delivered_up_to_there(channel, send, broker):
    for number in range(3):
        send(number)
    messages = [channel.basic_get("work") for _ in range(3)]
    messages[1].ack(multiple=True)
    assert broker.store.read("SELECT id FROM lease") == [(messages[2].delivery_tag,)]


def test_a_tag_cannot_be_settled_twice(channel, send):
    send("once")
    message = channel.basic_get("work")
    message.ack()
    with pytest.raises(PreconditionFailed, match="unknown delivery tag"):
        channel.basic_ack(message.delivery_tag)


def test_no_ack_deletes_without_being_asked(connection, channel, send, broker):
    send("one")
    assert channel.basic_get("work", no_ack=True).payload == "one"
    send("two")
    received_bodies = []

    def take(body, message):
        received_bodies.append(body)
        message.ack()

    with connection.Consumer(
        [Queue("work", durable=True)],
        callbacks=[take],
        no_ack=True,
    ):
        connection.drain_events(timeout=5)
    assert received_bodies == ["two"]
    assert broker.store.read("SELECT count(*) FROM message") == [(0,)]


def test_headers_properties_and_bytes_arrive_as_they_were_sent(channel, connect):
    producer = connect().Producer()
    when = datetime(2026, 1, 2, tzinfo=UTC)
    producer.publish(
        b"\x00\xff",
        routing_key="work",
        content_type="application/x",
        headers={"when": when},
        correlation_id="c",
        reply_to="r",
    )
    message = channel.basic_get("work")
    assert message.body == b"\x00\xff"
    assert message.headers["when"] == when
    assert (message.properties["correlation_id"], message.properties["reply_to"]) == ("c", "r")
    assert message.delivery_info["routing_key"] == "work"


@pytest.mark.parametrize(
    "bad", [{"headers": {"x-delay": "soon"}}, {"expiration": None, "priority": "high"}]
)
def test_numbers_that_are_none_are_refused(send, bad):
    with pytest.raises(PreconditionFailed):
        send("bad", **bad)
