"""Forks, wake-ups, and the event loop."""

import gc
import os
import shutil
import socket
import threading
import traceback
from pathlib import Path
from typing import Any

import kombu
import pytest
from kombu.asynchronous import Hub

from messaging.errors import BrokerUnavailable
from messaging.transport import wakeup
from messaging.transport.broker import Broker
from messaging.transport.files import files_of


def in_child(function):
    """Run a function in a forked child; fail if it raises."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def finished(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_publishes_through_what_it_inherited_while_the_parent_consumes(
    connection, channel, connect
):
    channel.queue_declare("work")
    producer = connect().Producer()
    producer.publish("parent", routing_key="work")
    seen = []

    def take(message):
        seen.append(message)
        message.ack()

    channel.basic_consume("work", callback=take)

    def publish():
        for number in range(20):
            producer.publish(number, routing_key="work")

    children = [in_child(publish) for _ in range(4)]
    for _ in range(81):
        connection.drain_events(timeout=10)
    assert all(list(map(finished, children)))
    assert len(seen) == 81


def test_a_fork_while_another_thread_is_in_a_transaction_is_safe(connection, channel, broker):
    channel.queue_declare("work")
    producer = channel.Producer()
    stopping = threading.Event()

    def publish_all_the_time():
        while not stopping.is_set():
            producer.publish("from a thread", routing_key="work")

    def publish():
        with kombu.Connection(connection.as_uri()) as inner:
            inner.Producer().publish("from a child", routing_key="work")

    thread = threading.Thread(target=publish_all_the_time)
    thread.start()
    children = [in_child(publish) for _ in range(20)]
    results = [finished(child) for child in children]
    stopping.set()
    thread.join()
    assert all(results)
    rows = broker.store.read(
        "SELECT count(*) FROM message WHERE CAST(body AS TEXT) LIKE '%child%'"
    )
    assert rows == [(20,)]
    assert broker.store.read("PRAGMA integrity_check") == [("ok",)]


def test_a_child_that_closes_what_it_inherited_takes_nothing_from_its_parent(
    connection, channel, send, broker
):
    channel.queue_declare("mine", exclusive=True)
    channel.queue_declare("work")
    send("held")
    message = channel.basic_get("work")
    assert finished(in_child(connection.close))
    assert broker.store.read("SELECT count(*) FROM lease") == [(1,)]
    broker.end_dead_sessions()
    message.ack()
    assert broker.store.read("SELECT name FROM queue ORDER BY name") == [("mine",), ("work",)]


def test_a_child_cannot_consume_through_its_parents_connection(connection, channel):
    channel.queue_declare("work")
    channel.basic_consume("work", callback=print)

    def consume():
        with pytest.raises(BrokerUnavailable, match="parent"):
            connection.drain_events(timeout=1)

    assert finished(in_child(consume))


def test_a_child_survives_its_parents_end_of_the_file(url, tmp_path):
    """SQLite's own trap: a child with the parent's open database loses what it writes."""

    def child():
        with kombu.Connection(url) as inner:
            inner.SimpleQueue("work").put("from the child")

    def parent():
        outer = kombu.Connection(url)
        outer.SimpleQueue("work").put("from the parent")
        assert finished(in_child(child))
        outer.close()

    assert finished(in_child(parent))
    with kombu.Connection(url) as connection:
        queue = connection.SimpleQueue("work")
        assert [queue.get(timeout=5).payload for _ in range(2)] == [
            "from the parent",
            "from the child",
        ]


def test_long_paths_get_their_wake_ups(tmp_path):
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    url = f"sqlite:///{folder}/broker.sqlite3"
    options = {"maintenance_seconds": 3600}
    with (
        kombu.Connection(url, transport_options=options) as consuming,
        kombu.Connection(url) as publishing,
    ):
        channel = consuming.channel()
        channel.queue_declare("work")
        seen: list[Any] = []
        channel.basic_consume("work", callback=seen.append)
        with pytest.raises(TimeoutError):
            consuming.drain_events(timeout=0)
        publishing.Producer().publish("hello", routing_key="work")
        session = consuming.transport.consumption.session
        session.wakeups.wait(0)
        consuming.drain_events(timeout=0)
        assert len(seen) == 1


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.close()


def turn(hub, until, turns=200):
    for _ in range(turns):
        if until():
            return
        hub.run_once()
    pytest.fail("the event loop never got there")


def test_the_event_loop_delivers_and_flushes_acks_with_the_next_claim(
    connection, channel, send, broker, hub
):
    channel.queue_declare("work")
    channel.basic_qos(prefetch_count=1)
    connection.register_with_event_loop(hub)
    held: list[Any] = []
    channel.basic_consume("work", callback=held.append)
    for number in range(3):
        send(number)
    turn(hub, lambda: len(held) == 1)
    held[0].ack()
    assert broker.store.read("SELECT count(*) FROM message") == [(3,)]  # not yet: with the claim
    turn(hub, lambda: len(held) == 2)
    assert broker.store.read("SELECT count(*) FROM message") == [(2,)]


def test_all_that_one_claim_brought_is_delivered_without_another_wake_up(
    connection, channel, send, broker, hub, monkeypatch
):
    """Of two messages claimed together the second stayed in the buffer until something came."""
    monkeypatch.setattr(broker, "wake_own_sessions", lambda: None)  # the keeper's, at its start
    channel.queue_declare("work")
    connection.register_with_event_loop(hub)
    held: list[Any] = []
    channel.basic_consume("work", callback=held.append)
    for number in range(3):
        send(number)
    turn(hub, lambda: len(held) == 3, turns=5)


def test_a_message_published_while_others_wait_in_the_buffer_is_delivered_next(
    connection, channel, send, broker, hub, monkeypatch
):
    """Its wake-up came together with the loop's own, and nobody looked at the file after it."""
    monkeypatch.setattr(broker, "wake_own_sessions", lambda: None)
    channel.queue_declare("work")
    connection.register_with_event_loop(hub)
    held: list[Any] = []
    channel.basic_consume("work", callback=held.append)
    send(1)
    send(2)
    turn(hub, lambda: len(held) == 1)
    send(3)
    turn(hub, lambda: len(held) == 3, turns=5)


def test_an_ack_waits_for_no_claim_when_the_window_was_full(
    connection, channel, send, broker, hub
):
    """With one task at a time, each one paid the wait for a claim that could not come."""
    channel.queue_declare("work")
    channel.basic_qos(prefetch_count=1)
    connection.register_with_event_loop(hub)
    held: list[Any] = []
    channel.basic_consume("work", callback=held.append)
    channel.queue_declare("control", exclusive=True)
    channel.basic_consume("control", no_ack=True, callback=print)  # has room at any time
    send("a")
    turn(hub, lambda: held)
    held[0].ack()
    assert hub.timer.queue == []
    turn(hub, lambda: not broker.store.read("SELECT 1 FROM message"))


def test_an_ack_by_call_soon_is_stored_before_the_next_task_runs_in_the_loop(
    connection, channel, send, broker, hub
):
    """As Celery's solo pool does it: the task inside the callback, its ack by ``call_soon``."""
    channel.queue_declare("work")
    channel.basic_qos(prefetch_count=3)
    connection.register_with_event_loop(hub)
    left = []

    def work(message):
        left.append(broker.store.read("SELECT count(*) FROM message")[0][0])
        hub.call_soon(message.ack)

    for number in range(3):
        send(number)
    channel.basic_consume("work", callback=work)
    turn(hub, lambda: len(left) == 3)
    assert left == [3, 2, 1]


def test_an_ack_inside_the_callback_is_stored_before_the_next_delivery(
    connection, channel, send, broker, hub
):
    channel.queue_declare("work")
    connection.register_with_event_loop(hub)
    left = []

    def work(message):
        left.append(broker.store.read("SELECT count(*) FROM message")[0][0])
        message.ack()

    for number in range(3):
        send(number)
    channel.basic_consume("work", callback=work)
    turn(hub, lambda: len(left) == 3)
    assert left == [3, 2, 1]


def test_acks_made_after_the_loop_has_closed_are_stored_at_once(
    connection, channel, send, broker, hub
):
    channel.queue_declare("work")
    connection.register_with_event_loop(hub)
    held: list[Any] = []
    channel.basic_consume("work", callback=held.append)
    send("a")
    send("b")
    turn(hub, lambda: len(held) == 2)
    held[0].ack()  # deferred, and then the loop ends
    hub.close()
    held[1].ack()
    assert broker.store.read("SELECT count(*) FROM message") == [(0,)]


def test_a_replaced_file_surfaces_in_the_event_loop_as_a_connection_error(url, connect, hub):
    connection = connect(maintenance_seconds=0.05)
    channel = connection.channel()
    channel.queue_declare("work")
    connection.register_with_event_loop(hub)
    channel.basic_consume("work", callback=print)
    os.unlink(files_of(url).database)

    def run():
        turn(hub, lambda: False)

    with pytest.raises(connection.connection_errors):
        run()
    assert Broker.at(files_of(url)) is not connection.transport.broker


def test_a_loss_of_all_files_and_sockets_surfaces_in_the_event_loop(
    url, connection, channel, broker, hub
):
    """A worker whose broker folder was emptied waited for ever: its wake-up had no name left."""
    channel.queue_declare("work")
    channel.basic_consume("work", callback=print)
    connection.register_with_event_loop(hub)
    turn(hub, lambda: hub.poller is not None, turns=5)
    hub.run_once()
    shutil.rmtree(Path(files_of(url).database).parent)
    with pytest.raises(BrokerUnavailable):
        broker.store.check()  # as its keeper does every second
    with pytest.raises(BrokerUnavailable):
        turn(hub, lambda: False, turns=5)


def test_a_delayed_message_is_delivered_by_the_event_loop_when_due(connection, channel, send, hub):
    channel.queue_declare("work")
    connection.register_with_event_loop(hub)
    seen: list[Any] = []
    channel.basic_consume("work", callback=seen.append)
    send("soon", headers={"x-delay": 100})
    turn(hub, lambda: seen)


def test_of_a_collected_cycle_the_sockets_are_closed_whichever_comes_first(url, monkeypatch):
    opened = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)]
    gc.collect()  # these are older than their owners now: the collector would take them first
    numbers = [each.fileno() for each in opened]
    monkeypatch.setattr(socket, "socket", lambda *_: opened.pop())
    files = files_of(url)
    owners = [wakeup.Waker(files), wakeup.WakeSocket(files, 7)]
    owners.append(owners)
    monkeypatch.undo()
    del owners
    gc.collect()  # an unclosed socket warns, which fails this test
    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
