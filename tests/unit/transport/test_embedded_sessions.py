"""Who holds a message, how others know, and what a consumer that was given up on can do."""

import gc
import threading

import pytest

from messaging.errors import LeaseLost
from messaging.transport import leases, sessions
from messaging.transport.errors import SessionLost
from messaging.transport.sessions import lock_byte
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _queue(channel):
    channel.queue_declare("work", durable=True)


def steal(broker, connection):
    """End a living connection's session, as another process does that thinks it is frozen."""
    session_id = connection.transport.consumption.session.id
    with broker.store.transaction(busy_seconds=5) as db:
        sessions.end(db, session_id, broker.store.clock.now())


def test_a_connection_that_only_publishes_has_no_session(connect, send, broker):
    send("hello")
    assert broker.store.read("SELECT count(*) FROM session") == [(0,)]


def test_a_late_ack_is_fenced_and_the_connection_starts_anew(
    connection, channel, connect, send, broker
):
    send("precious")
    stale = channel.basic_get("work")
    steal(broker, connection)
    again = connect().channel().basic_get("work")
    assert again.delivery_info["delivery_count"] == 1
    with pytest.raises(LeaseLost, match=str(stale.delivery_tag)):
        stale.ack()
    assert LeaseLost in connection.connection_errors
    with pytest.raises(SessionLost):
        connection.drain_events(timeout=1)
    again.ack()  # the rightful owner is not disturbed
    assert broker.store.read("SELECT count(*) FROM message") == [(0,)]


def test_a_fenced_reject_does_not_bring_back_what_another_holds(
    connection, channel, connect, send, broker
):
    send("precious")
    stale = channel.basic_get("work")
    steal(broker, connection)
    connect().channel().basic_get("work")
    with pytest.raises(SessionLost):
        stale.requeue()
    assert broker.store.read("SELECT count(*) FROM ready") == [(0,)]


def test_a_lost_session_cannot_claim(connection, channel, send, broker):
    channel.basic_consume("work", callback=print)
    steal(broker, connection)
    send("for others")
    with pytest.raises(SessionLost):
        connection.drain_events(timeout=1)
    assert broker.store.read("SELECT count(*) FROM lease") == [(0,)]


def test_renewal_notices_that_the_session_was_ended(connection, channel, broker):
    channel.basic_consume("work", callback=print)
    steal(broker, connection)
    broker.renew_sessions()
    with pytest.raises(SessionLost):
        connection.drain_events(timeout=1)


def test_renewal_moves_the_end_of_the_lease_by_the_monotonic_clock(
    connection, channel, broker, clock
):
    session = connection.transport.consumption.session
    clock.advance(30)
    broker.renew_sessions()
    ((expires_at,),) = broker.store.read("SELECT lease_expires_at FROM session")
    assert expires_at == pytest.approx(clock.monotonic() + session.options.lease_seconds, abs=1)


def test_what_a_dead_process_held_comes_back_first_with_its_count(channel, send, broker, bodies):
    for number in range(3):
        send(number)
    with broker.store.transaction(busy_seconds=5) as db:
        # A session of no process: nobody holds its lock byte, as after kill -9.
        dead = sessions.insert(db, 60.0, broker.store.clock.monotonic())
    (queue_id,) = broker.store.read("SELECT id FROM queue")[0]
    with broker.store.transaction(busy_seconds=5) as db:
        leases.claim(db, queue_id, dead, 2)
    assert channel.basic_get("work").payload == 2
    broker.end_dead_sessions()
    message = channel.basic_get("work")
    assert (message.payload, message.delivery_info["redelivered"]) == (0, True)
    assert message.delivery_info["delivery_count"] == 1
    assert bodies(channel) == [1]


def test_a_living_process_keeps_its_sessions_however_often_others_look(connection, broker):
    session_id = connection.transport.consumption.session.id
    for _ in range(3):
        broker.end_dead_sessions()
    assert broker.store.read("SELECT id FROM session") == [(session_id,)]


def test_an_exclusive_queue_of_a_dead_process_can_be_declared_at_once(channel, broker):
    with broker.store.transaction(busy_seconds=5) as db:
        dead = sessions.insert(db, 60.0, broker.store.clock.monotonic())
        db.execute(
            "INSERT INTO queue (name, durable, auto_delete, owner, last_used_at)"
            " VALUES ('worker.pidbox', 0, 1, ?, 0)",
            (dead,),
        )
    channel.queue_declare("worker.pidbox", exclusive=True, auto_delete=True)


@pytest.mark.filterwarnings("ignore:unclosed <socket")  # rightly so: nobody closed it
def test_a_connection_nobody_closed_gives_back_what_it_held(connect, channel, send, broker):
    forgotten = connect()
    session_id = forgotten.transport.consumption.session.id
    send("held")
    forgotten.channel().basic_get("work")
    forgotten._transport = forgotten._connection = forgotten._default_channel = None

    def given_back():
        # More than once: the broker's own thread may be renewing the session just now, and hold
        # it while the collector looks.
        gc.collect()
        broker.end_forgotten_sessions()
        return channel.basic_get("work")

    assert eventually(given_back).payload == "held"
    assert eventually(lambda: broker.store.live.try_lock(lock_byte(session_id)))


def test_acks_from_other_threads_are_good(connection, channel, send, broker):
    for number in range(20):
        send(number)
    messages = [channel.basic_get("work") for _ in range(20)]
    threads = [threading.Thread(target=message.ack) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broker.store.read("SELECT count(*) FROM message") == [(0,)]


def test_an_ack_from_another_thread_wakes_the_one_that_waits_for_its_window(
    connection, channel, send
):
    send(1)
    send(2)
    channel.basic_qos(prefetch_count=1)
    taken = []

    def take(message):
        taken.append(message)
        if len(taken) == 1:
            threading.Timer(0.05, message.ack).start()

    channel.basic_consume("work", callback=take)
    connection.drain_events(timeout=5)
    began = connection.transport.broker.store.clock.monotonic()
    connection.drain_events(timeout=4)
    assert connection.transport.broker.store.clock.monotonic() - began < 2
