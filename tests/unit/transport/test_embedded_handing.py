"""Messages that are leased to a waiting consumer as they are stored."""

import os
import threading
from typing import Any

import kombu
import pytest
from kombu.asynchronous import Hub

from messaging.transport import handing
from messaging.transport.handing import LOST_AFTER_SECONDS
from messaging.transport.wakeup import Waker
from tests.support.waiting import eventually

PREFETCH = 4


class Reader:
    """A consumer of `work` that may be handed messages; it holds what it is given."""

    def __init__(self, connect: Any, **options: Any) -> None:
        self.connection = connect(takes_handed=True, **options)
        self.channel = self.connection.channel()
        self.channel.queue_declare("work")
        self.channel.basic_qos(prefetch_count=PREFETCH)
        self.held: list[Any] = []
        self.tag = self.channel.basic_consume("work", callback=self.held.append)

    def drain(self) -> list[Any]:
        """Take all there is now; return what is held."""
        try:
            while True:
                self.connection.drain_events(timeout=0)
        except TimeoutError:
            return [message.payload for message in self.held]


@pytest.fixture
def reader(connect):
    return Reader(connect)


@pytest.fixture
def statements(broker):
    """What this thread runs on the broker's file from now on.

    The keeper's thread has the same connection, and renews its sessions when it likes.
    """
    seen: list[str] = []
    here = threading.get_ident()
    with broker.store.connection() as db:
        db.set_trace_callback(
            lambda text: seen.append(text) if threading.get_ident() == here else None
        )
    yield seen
    with broker.store.connection() as db:
        db.set_trace_callback(None)


@pytest.fixture
def dropped(monkeypatch):
    """Have datagrams with messages get lost, as if their publisher died after its commit."""
    lost: list[bytes] = []

    def send(_self: Waker, _session_id: int, datagram: bytes) -> bool:
        lost.append(datagram)
        return True

    monkeypatch.setattr(Waker, "send", send)
    return lost


def waiting(broker: Any) -> int:
    return int(broker.store.read("SELECT count(*) FROM ready")[0][0])


def leased(broker: Any) -> int:
    return int(broker.store.read("SELECT count(*) FROM lease")[0][0])


def test_who_waits_gets_it_without_a_transaction_of_its_own(reader, send, broker, statements):
    send("hello")
    assert (waiting(broker), leased(broker)) == (0, 1)
    statements.clear()
    assert reader.drain() == ["hello"]
    assert not any(statement.startswith("BEGIN") for statement in statements)
    reader.held.pop().ack()
    assert leased(broker) == 0


def test_it_is_a_delivery_like_any_other(reader, send, broker):
    send("hello", priority=7)
    reader.drain()
    (message,) = reader.held
    assert not message.delivery_info["redelivered"]
    assert message.delivery_info["priority"] == 7
    message.reject(requeue=True)
    reader.held.clear()
    assert reader.drain() == ["hello"]
    assert reader.held[0].delivery_info["redelivered"]


def test_a_consumer_gets_no_more_than_it_has_room_for(reader, send, broker):
    for number in range(PREFETCH + 2):
        send(number)
    assert reader.drain() == list(range(PREFETCH))
    assert waiting(broker) == 2
    for message in reader.held[:2]:
        message.ack()
    assert reader.drain() == list(range(PREFETCH + 2))


def test_nobody_overtakes_what_waits(reader, send, broker):
    for number in range(PREFETCH + 1):
        send(number)
    reader.drain()
    reader.held[0].ack()  # room for one, which waits already
    send("later")
    assert waiting(broker) >= 1
    assert reader.drain()[PREFETCH] == PREFETCH


def test_of_several_consumers_the_one_with_the_fewest_leases_is_chosen(connect, send):
    readers = [Reader(connect), Reader(connect)]
    for number in range(2 * PREFETCH):
        send(number)
    assert [len(each.drain()) for each in readers] == [PREFETCH, PREFETCH]


def test_who_has_not_asked_for_it_is_handed_nothing(connect, send, broker):
    channel = connect().channel()
    channel.queue_declare("work")
    channel.basic_qos(prefetch_count=PREFETCH)
    channel.basic_consume("work", callback=print)
    send("hello")
    assert (waiting(broker), leased(broker)) == (1, 0)


def test_what_is_too_large_for_a_datagram_waits(reader, send, broker):
    send("x" * 70_000)
    assert waiting(broker) == 1
    assert reader.drain() == ["x" * 70_000]


def test_what_a_full_socket_cannot_take_waits(connect, send, broker):
    reader = Reader(connect)
    reader.channel.basic_qos(prefetch_count=1000)
    for number in range(900):  # the kernel queues 10 for a socket, 512 where it is set higher
        send(number)
    assert waiting(broker) > 0
    assert sorted(reader.drain()) == list(range(900))


def test_a_window_that_became_smaller_meanwhile_sends_it_back(reader, send, broker):
    for number in range(PREFETCH):
        send(number)
    reader.channel._unsettled.prefetch_count = 1  # before publishers can know
    assert reader.drain() == [0]
    assert (waiting(broker), leased(broker)) == (PREFETCH - 1, 1)


def test_a_smaller_window_is_told_to_publishers(reader, send, broker):
    reader.channel.basic_qos(prefetch_count=1)
    for number in range(3):
        send(number)
    assert leased(broker) == 1


def test_what_is_on_its_way_to_who_leaves_goes_to_others(connect, send, broker):
    leaving, staying = Reader(connect), Reader(connect)
    staying.channel.basic_qos(prefetch_count=0)
    send("hello")
    leaving.channel.basic_cancel(leaving.tag)
    assert staying.drain() == ["hello"]
    assert leaving.drain() == []
    assert leased(broker) == 1


def test_an_ack_of_another_thread_is_no_stray_when_a_consumer_leaves(reader, send, broker):
    for number in range(PREFETCH):
        send(number)
    reader.drain()
    acks = [threading.Thread(target=message.ack) for message in reader.held]
    for thread in acks:
        thread.start()
    reader.channel.basic_cancel(reader.tag)
    for thread in acks:
        thread.join()
    assert (waiting(broker), leased(broker)) == (0, 0)


def test_a_message_whose_publisher_died_before_it_could_hand_it_over_is_found(
    connect, send, broker, dropped
):
    reader = Reader(connect, maintenance_seconds=0.05)  # wakes the reader, as the keeper does
    send("hello")
    assert len(dropped) == 1
    eventually(lambda: reader.drain() == ["hello"], 10 * LOST_AFTER_SECONDS)
    assert not reader.held[0].delivery_info["redelivered"]
    reader.held.pop().ack()
    assert leased(broker) == 0


def test_so_it_is_in_an_event_loop(connect, send, broker, dropped):
    reader = Reader(connect, maintenance_seconds=0.05)
    hub = Hub()
    reader.connection.register_with_event_loop(hub)
    try:
        send("hello")

        def has_come() -> bool:
            hub.call_later(0.05, lambda: None)
            hub.run_once()
            return bool(reader.held)

        eventually(has_come, 10 * LOST_AFTER_SECONDS)
    finally:
        hub.close()


def test_a_wake_up_that_a_full_socket_swallowed_is_made_up_for(connect, send, broker):
    reader = Reader(connect)
    reader.channel.basic_qos(prefetch_count=900)
    hub = Hub()
    reader.connection.register_with_event_loop(hub)
    try:
        hub.run_once()
        for number in range(800):
            send(number)
        assert waiting(broker) > 0

        def have_come() -> bool:
            # Many turns at one look: `eventually` pauses for several times what a look took.
            for _ in range(100):
                hub.call_later(0.01, lambda: None)
                hub.run_once()
                if len(reader.held) == 800:
                    return True
            return False

        eventually(have_come, 30)
    finally:
        hub.close()


def test_what_a_killed_consumer_was_handed_goes_to_others(connect, send, broker, url):
    ready, start = os.pipe()
    child = os.fork()
    if child == 0:
        with kombu.Connection(url, transport_options={"takes_handed": True}) as connection:
            Reader(lambda **_: connection)
            os.write(start, b"!")
            threading.Event().wait()
    os.read(ready, 1)
    send("hello")
    assert leased(broker) == 1
    os.kill(child, 9)
    os.waitpid(child, 0)
    other = Reader(connect)
    broker.end_dead_sessions()
    assert other.drain() == ["hello"]
    assert other.held[0].delivery_info["redelivered"]


def test_a_topic_with_many_takers_is_claimed_by_them(connect, broker):
    channel = connect().channel()
    readers = []
    for number in range(handing.MOST_TAKERS + 1):
        reader = connect(takes_handed=True).channel()
        reader.queue_declare(f"q{number}")
        reader.queue_bind(f"q{number}", "amq.topic", "news")
        reader.basic_qos(prefetch_count=PREFETCH)
        reader.basic_consume(f"q{number}", callback=print)
        readers.append(reader)
    kombu.Producer(channel).publish("x", exchange="amq.topic", routing_key="news")
    assert waiting(broker) == handing.MOST_TAKERS + 1
