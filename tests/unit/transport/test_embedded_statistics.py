"""The numbers for people, and the sweeps that the keeper runs."""

import os

import pytest

from messaging.errors import ConfigurationError
from messaging.transport import QueueStatistics, maintenance, queue_statistics
from messaging.transport.maintenance import Maintenance
from messaging.transport.options import Options


def test_statistics_say_what_waits_what_is_held_and_since_when(url, channel, send, clock):
    channel.queue_declare("work")
    channel.queue_declare("idle")
    send("a", priority=9)
    clock.advance(10)
    send("b", priority=1)
    send("c", priority=1)
    send("later", headers={"x-delay": 5000})
    channel.basic_get("work")
    channel.basic_consume("idle", callback=print)
    idle, work = queue_statistics(url)
    assert (idle.name, idle.ready, idle.consumers, idle.oldest_age_seconds) == ("idle", 0, 1, None)
    assert work.ready_by_priority == {1: 2}
    assert (work.ready, work.leased, work.delayed, work.consumers) == (2, 1, 1, 0)
    assert work.oldest_age_seconds == pytest.approx(0, abs=2)
    clock.advance(100)
    assert queue_statistics(url)[1].oldest_age_seconds == pytest.approx(100, abs=2)


def test_statistics_are_frozen():
    with pytest.raises(AttributeError):
        setattr(QueueStatistics(name="work"), "leased", 1)  # noqa: B010 - mypy objects to "="


def test_statistics_of_no_file_are_an_error():
    with pytest.raises(ConfigurationError):
        queue_statistics("sqlite://")


def test_a_pass_of_maintenance_does_every_sweep(channel, send, broker, clock):
    channel.queue_declare("work")
    channel.queue_declare("unused", arguments={"x-expires": 1000})
    send("in an unused queue", "unused")
    send("expires", expiration=1)
    send("low", priority=0)
    send("urgent", priority=9)
    clock.advance(61)
    Maintenance(broker.store, Options()).sweep()
    assert broker.store.read("SELECT name FROM queue") == [("work",)]
    assert broker.store.read("SELECT prio FROM ready ORDER BY prio") == [(0,), (8,)]
    assert broker.store.read("SELECT count(*) FROM message") == [(2,)]
    assert broker.store.read("SELECT count(*) FROM dropped") == [(0,)]


def test_ageing_can_be_switched_off(channel, send, broker, clock):
    channel.queue_declare("work")
    send("low", priority=0)
    send("urgent", priority=9)
    clock.advance(1000)
    Maintenance(broker.store, Options(ageing_seconds=0)).sweep()
    assert broker.store.read("SELECT max(prio) FROM ready") == [(9,)]


def test_a_pass_without_work_writes_nothing(channel, broker):
    channel.queue_declare("work")
    with broker.store.connection() as db:
        before = db.total_changes
        Maintenance(broker.store, Options()).sweep()
        assert db.total_changes == before


def test_the_file_shrinks_after_a_flood(channel, broker):
    channel.queue_declare("work")
    producer = channel.Producer()
    with channel.batch():
        for _ in range(3000):
            producer.publish("x" * 4000, routing_key="work")
    channel.queue_purge("work")
    pages = broker.store.read("PRAGMA page_count")[0][0]
    sweeper = Maintenance(broker.store, Options())
    for _ in range(5):
        sweeper.sweep()
    assert broker.store.read("PRAGMA page_count")[0][0] < pages / 2
    assert broker.store.read("PRAGMA freelist_count")[0][0] <= 2000
    assert maintenance.BATCH == 500
    with broker.store.connection() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert os.stat(broker.store.files.database).st_size < pages * 4096 / 2
