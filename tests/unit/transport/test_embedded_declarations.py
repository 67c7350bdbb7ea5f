"""Queues and exchanges: what may be declared, who may use it, when it goes away."""

import pytest
from kombu import Exchange, Queue

from messaging.transport import maintenance
from messaging.transport.errors import (
    ConsumerCancelled,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
)


def queue_names(broker):
    return [row[0] for row in broker.store.read("SELECT name FROM queue ORDER BY name")]


def test_a_passive_declaration_counts_messages_and_consumers(connection, channel, send):
    channel.queue_declare("work")
    send(1)
    send(2)
    assert channel.queue_declare("work", passive=True) == ("work", 2, 0)
    channel.basic_consume("work", callback=lambda message: None)
    assert channel.queue_declare("work", passive=True).consumer_count == 1


def test_a_passive_declaration_of_what_is_missing_is_404(channel):
    with pytest.raises(NotFound) as caught:
        channel.queue_declare("missing", passive=True)
    assert caught.value.code == 404
    with pytest.raises(NotFound):
        channel.exchange_declare("missing", passive=True)


@pytest.mark.parametrize(
    "other",
    [
        {"durable": True},
        {"arguments": {"x-max-priority": 5}},
        {"arguments": {"x-expires": 1000}},
        {"arguments": {"x-message-ttl": 1000}},
    ],
)
def test_declaring_a_queue_with_other_arguments_is_406(channel, other):
    channel.queue_declare("work")
    channel.queue_declare("work")
    with pytest.raises(PreconditionFailed) as caught:
        channel.queue_declare("work", **other)
    assert caught.value.code == 406


def test_declaring_an_exchange_with_another_type_is_406(channel):
    channel.exchange_declare("x", type="topic")
    channel.exchange_declare("x", type="topic")
    with pytest.raises(PreconditionFailed):
        channel.exchange_declare("x", type="direct")
    with pytest.raises(PreconditionFailed):
        channel.exchange_declare("y", type="headers")


def test_kombu_entities_declare_their_seconds_as_milliseconds(channel, broker):
    Queue("work", Exchange("x", "topic"), "a.#", expires=2.5, message_ttl=0.5)(channel).declare()
    rows = broker.store.read("SELECT expires_ms, message_ttl_ms FROM queue")
    assert rows == [(2500, 500)]


@pytest.mark.parametrize(
    "use",
    [
        lambda channel: channel.queue_declare("mine", exclusive=True),
        lambda channel: channel.queue_declare("mine", passive=True),
        lambda channel: channel.queue_bind("mine", "amq.topic", "a"),
        lambda channel: channel.queue_purge("mine"),
        lambda channel: channel.queue_delete("mine"),
        lambda channel: channel.basic_get("mine"),
        lambda channel: channel.basic_consume("mine", callback=print),
    ],
)
def test_an_exclusive_queue_is_refused_to_other_connections(channel, connect, use):
    channel.queue_declare("mine", exclusive=True)
    channel.queue_declare("mine", exclusive=True)
    with pytest.raises(ResourceLocked) as caught:
        use(connect().channel())
    assert caught.value.code == 405


def test_an_exclusive_queue_takes_messages_of_all_and_goes_with_its_owner(
    connection, channel, send, broker
):
    channel.queue_declare("mine", exclusive=True)
    send("hello", "mine")
    assert channel.basic_get("mine", no_ack=True).payload == "hello"
    connection.close()
    assert queue_names(broker) == []


def test_an_auto_delete_queue_goes_with_its_last_consumer_and_not_before(channel, connect, broker):
    channel.queue_declare("events", auto_delete=True)
    other = connect()
    first = channel.basic_consume("events", callback=print)
    other.channel().basic_consume("events", callback=print)
    channel.basic_cancel(first)
    assert queue_names(broker) == ["events"]
    other.close()
    assert queue_names(broker) == []


def test_a_queue_expires_when_unused_with_its_messages(channel, send, broker, clock):
    channel.queue_declare("replies", arguments={"x-expires": 10_000})
    channel.queue_declare("stays")
    tag = channel.basic_consume("replies", callback=print)
    channel.basic_qos(prefetch_count=1)

    def sweep():
        with broker.store.transaction(busy_seconds=5) as db:
            maintenance.expire_queues(db, clock.now())
            while maintenance.collect_dropped(db):
                pass

    clock.advance(60)
    sweep()
    assert queue_names(broker) == ["replies", "stays"]
    channel.basic_cancel(tag)  # counts as use
    clock.advance(9)
    send("late", "replies")
    sweep()
    assert queue_names(broker) == ["replies", "stays"]
    clock.advance(2)
    sweep()
    assert queue_names(broker) == ["stays"]
    assert broker.store.read("SELECT count(*) FROM message") == [(0,)]


def test_deleting_a_queue_takes_all_its_messages_in_bounded_batches(
    channel, send, broker, monkeypatch
):
    monkeypatch.setattr(maintenance.Maintenance, "sweep", lambda _: None)  # the keeper's
    channel.queue_declare("work")
    with channel.batch():
        producer = channel.Producer()
        for number in range(700):
            producer.publish(number, routing_key="work")
    send("later", headers={"x-delay": 60_000})
    channel.basic_get("work")
    assert channel.queue_delete("work") == 699
    batches = []
    with broker.store.transaction(busy_seconds=5) as db:
        while batch := maintenance.collect_dropped(db):
            batches.append(batch)
    assert max(batches) <= maintenance.BATCH
    for table in ("message", "ready", "delayed", "lease", "dropped"):
        assert broker.store.read(f"SELECT count(*) FROM {table}") == [(0,)]


def test_deleting_minds_if_unused_and_if_empty(channel, send):
    channel.queue_declare("work")
    send("full")
    with pytest.raises(PreconditionFailed):
        channel.queue_delete("work", if_empty=True)
    tag = channel.basic_consume("work", callback=print)
    with pytest.raises(PreconditionFailed):
        channel.queue_delete("work", if_unused=True)
    channel.basic_cancel(tag)
    assert channel.queue_delete("work", if_unused=True) == 1
    assert channel.queue_delete("work") == 0


def test_a_consumer_learns_that_its_queue_was_deleted(connection, channel, connect, broker):
    channel.queue_declare("work")
    cancelled: list[str] = []
    channel.basic_consume("work", callback=print, consumer_tag="t", on_cancel=cancelled.append)
    other = connect().channel()
    other.queue_delete("work")
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.01)
    assert cancelled == ["t"]
    channel.queue_declare("work")
    channel.basic_consume("work", callback=print)
    other.queue_delete("work")
    with pytest.raises(ConsumerCancelled):
        connection.drain_events(timeout=5)


def test_purge_deletes_what_waits_and_nothing_that_is_held(channel, send, bodies, broker):
    channel.queue_declare("work")
    for number in range(5):
        send(number)
    held = channel.basic_get("work")
    assert channel.queue_purge("work") == 4
    held.requeue()
    assert bodies(channel) == [0]


def test_an_exchange_can_be_deleted_and_the_queue_stays(channel, broker):
    channel.exchange_declare("x", type="topic")
    channel.queue_declare("work")
    channel.queue_bind("work", "x", "a")
    assert channel.get_table("x") == [("a", None, "work")]
    with pytest.raises(PreconditionFailed):
        channel.exchange_delete("x", if_unused=True)
    channel.exchange_delete("x")
    assert queue_names(broker) == ["work"]
    assert "x" not in channel.get_exchanges()


def test_binding_needs_a_queue_and_an_exchange(channel):
    with pytest.raises(NotFound):
        channel.queue_bind("missing", "amq.topic", "a")
    channel.queue_declare("work")
    with pytest.raises(NotFound):
        channel.queue_bind("work", "missing", "a")
