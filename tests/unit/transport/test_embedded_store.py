"""The file: made, opened, upgraded, deleted, replaced, read-only, shared by forks and threads."""

import gc
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import kombu
import pytest

from messaging.errors import (
    BrokerBusy,
    BrokerUnavailable,
    ConfigurationError,
    PublishUncertain,
)
from messaging.transport import files, schema
from messaging.transport.broker import Broker
from messaging.transport.files import (
    WRITER_BYTE,
    BrokerFiles,
    LiveFile,
    file_system_type,
    files_of,
)
from messaging.transport.options import Options


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/path",
        "sqlite:///a/b.sqlite3",
        "sqlite:////a?mode=ro",
        "sqlite:////tmp",
    ],
)
def test_urls_without_a_usable_file_are_refused(url):
    with pytest.raises(ConfigurationError, match="broker URL"):
        files_of(url)


def test_four_slashes_are_an_absolute_path(tmp_path):
    assert files_of(f"sqlite:///{tmp_path}/c.sqlite3").database == f"{tmp_path}/c.sqlite3"


def test_the_connection_shows_its_url_and_warns_of_nothing(connection, url, caplog):
    assert connection.as_uri() == url
    assert connection.clone().as_uri() == url
    assert connection.transport.driver_version() == sqlite3.sqlite_version
    assert "hostname" not in caplog.text


def test_the_transport_can_be_named_instead_of_the_scheme(url):
    with kombu.Connection(url, transport="messaging.transport:Transport") as connection:
        connection.connect()
        assert connection.transport.driver_type == "sqlite"


@pytest.mark.parametrize(
    ("path", "found"),
    [("/data/broker", "nfs4"), ("/database", "ext4"), ("/my disk/x", "cifs"), ("/data2", "ext4")],
)
def test_the_file_system_of_a_path_is_that_of_its_longest_mount(path, found):
    mounts = [
        "1 0 8:1 / / rw - ext4 /dev/sda rw",
        "2 1 0:4 / /data rw,noatime shared:1 - nfs4 server:/data rw",
        "3 1 0:5 / /my\\040disk rw - cifs //server/share rw",
    ]
    assert file_system_type(path, mounts) == found


def test_network_file_systems_are_refused(tmp_path, monkeypatch):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / {tmp_path} rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(files, "_MOUNTS", mounts)
    with pytest.raises(ConfigurationError, match="nfs4"):
        kombu.Connection(f"sqlite:///{tmp_path}/b.sqlite3").connect()


def test_folder_and_files_are_private(tmp_path):
    path = tmp_path / "new" / "b.sqlite3"
    with kombu.Connection(f"sqlite:///{path}") as connection:
        connection.connect()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for name in ("", "-wal", "-shm", "-live"):
            assert stat.S_IMODE(Path(f"{path}{name}").stat().st_mode) == 0o600


def test_options_are_checked_and_unknown_ones_ignored():
    assert Options.parse({"lease_seconds": "5", "max_retries": 3}).lease_seconds == 5.0
    assert Options.parse(None) == Options()
    for bad in ({"lease_seconds": 0}, {"busy_seconds": "long"}, {"durability": "maybe"}):
        with pytest.raises(ConfigurationError, match=next(iter(bad))):
            Options.parse(bad)


def test_another_programs_database_is_refused_untouched(tmp_path):
    path = tmp_path / "db.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE auth_user (id)")
    db.close()
    with pytest.raises(ConfigurationError, match="another program"):
        kombu.Connection(f"sqlite:///{path}").connect()


def test_a_file_of_a_newer_version_is_refused(url):
    with kombu.Connection(url) as connection:
        connection.connect()
    del connection
    gc.collect()  # with its last connection the file is closed
    with sqlite3.connect(files_of(url).database) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    with pytest.raises(ConfigurationError, match="update the software"):
        kombu.Connection(url).connect()


def test_an_older_file_is_upgraded_with_its_messages(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/b.sqlite3"
    with kombu.Connection(url) as connection:
        connection.SimpleQueue("work").put("kept")
    del connection
    gc.collect()
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    upgrade = ["ALTER TABLE queue ADD COLUMN note TEXT"]
    monkeypatch.setattr(schema, "UPGRADES", {schema.VERSION - 1: upgrade})
    with kombu.Connection(url) as connection:
        assert connection.SimpleQueue("work").get(timeout=5).payload == "kept"
        store = connection.transport.broker.store
        assert store.read("SELECT note FROM queue") == [(None,)]
        assert store.read("PRAGMA user_version") == [(schema.VERSION,)]


@pytest.mark.parametrize(
    "names", [[""], ["-live"], ["-wal"], ["-shm"], ["", "-wal", "-shm", "-live"]]
)
def test_a_deleted_file_is_noticed_by_the_next_write_and_replaced_by_a_new_one(
    url, connection, channel, send, names
):
    channel.queue_declare("work", durable=True)
    for name in names:
        os.unlink(files_of(url).database + name)
    with pytest.raises(BrokerUnavailable, match=r"deleted or replaced"):
        send("not written")
    assert BrokerUnavailable in connection.connection_errors
    assert not connection.connected
    with kombu.Connection(url) as fresh:
        queue = fresh.SimpleQueue("work")
        queue.put("in the new file")
        assert queue.get(timeout=5).payload == "in the new file"


def test_a_log_that_outlived_its_database_is_not_taken_for_the_new_ones(url, connection, send):
    path = files_of(url).database
    connection.SimpleQueue("work").put("old")
    os.unlink(path)  # leaves -wal and -shm, still used by the old connection
    with kombu.Connection(url) as fresh:
        fresh.connect()
        assert fresh.transport.broker.store.read("SELECT count(*) FROM message") == [(0,)]
        assert fresh.transport.broker.store.read("PRAGMA integrity_check") == [("ok",)]


def test_an_idle_consumer_notices_a_deleted_file(url, connect):
    consumer = connect(maintenance_seconds=0.05)
    consumer.channel().queue_declare("work")
    consumer.default_channel.basic_consume("work", callback=print)
    os.unlink(files_of(url).database)
    with pytest.raises(BrokerUnavailable):
        consumer.drain_events(timeout=4)


def test_a_loss_that_came_between_two_drains_is_raised_by_the_next(url, connect, broker):
    """kombu connected again in silence, and a reader of replies consumed nothing any more."""
    consumer = connect()
    consumer.channel().queue_declare("work")
    consumer.default_channel.basic_consume("work", callback=print)
    with pytest.raises(TimeoutError):
        consumer.drain_events(timeout=0)
    broker.store.retire("as its keeper does when the file is gone")
    with pytest.raises(BrokerUnavailable, match="as its keeper"):
        consumer.drain_events(timeout=0)


def test_a_file_that_vanishes_during_the_commit_makes_the_publish_uncertain(url, channel, broker):
    class Vanishing:
        def __getattr__(self, name):
            return getattr(real, name)

        def execute(self, statement, *parameters):
            if statement == "COMMIT":
                os.unlink(files_of(url).database)
            return real.execute(statement, *parameters)

    real = broker.store._connection
    broker.store._connection = Vanishing()
    with pytest.raises(PublishUncertain, match="may be lost"):
        channel.queue_declare("work")


def test_a_read_only_file_is_a_connection_error_with_its_text(url, connection, broker):
    with broker.store.connection() as db:
        db.execute("PRAGMA query_only = ON")
    with pytest.raises(BrokerUnavailable, match="readonly") as caught:
        connection.channel().queue_declare("work")
    assert isinstance(caught.value.__cause__, sqlite3.Error)


def test_a_full_disk_is_a_connection_error_and_nothing_is_written(
    connection, channel, send, broker
):
    channel.queue_declare("work")
    with broker.store.connection() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(BrokerUnavailable, match="full"):
        send("x" * 100_000)
    with pytest.raises(BrokerUnavailable, match="a moment ago"):  # kombu waits between attempts
        connection.transport.establish_connection()
    with broker.store.connection() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    send("fits")
    assert channel.basic_get("work").payload == "fits"


def test_a_writer_that_does_not_let_go_is_broker_busy_after_the_budget(url, connect):
    connection = connect(busy_seconds=0.1)
    other = sqlite3.connect(files_of(url).database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BrokerBusy, match="locked"):
        connection.channel().queue_declare("work")
    other.execute("ROLLBACK")
    other.close()
    connection.channel().queue_declare("work")


def can_write(lock_file):
    """Whether another process would get the writer's byte."""
    code = (
        "import fcntl, os, sys; file = os.open(sys.argv[1], os.O_RDWR); "
        "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(sys.argv[2]))"
    )
    command = [sys.executable, "-S", "-c", code, lock_file, str(WRITER_BYTE)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("function", ["try_lock", "unlock"])
def test_who_is_interrupted_and_goes_on_does_not_keep_others_from_writing(
    url, channel, broker, monkeypatch, function
):
    """Others waited until this process wrote again, or ended."""
    real, interrupts = getattr(LiveFile, function), iter([True])

    def interrupted(live, byte):
        if byte != WRITER_BYTE or not next(interrupts, False):
            return real(live, byte)
        if function == "try_lock":
            real(live, byte)  # it has the lock, and has not noted that
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveFile, function, interrupted)
    with pytest.raises(KeyboardInterrupt):
        channel.queue_declare("work")
    assert can_write(files_of(url).live)
    channel.queue_declare("work")


def test_many_threads_share_one_store(url, channel):
    channel.queue_declare("work")
    errors = []

    def publish():
        try:
            with kombu.Connection(url) as connection:
                producer = connection.Producer()
                for number in range(50):
                    producer.publish(number, routing_key="work")
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert channel.queue_declare("work", passive=True).message_count == 400


def test_brokers_of_one_file_are_one_object_and_go_with_their_last_connection(tmp_path):
    broker_files = BrokerFiles(f"{tmp_path}/b.sqlite3")
    broker = Broker.at(broker_files)
    assert Broker.at(broker_files) is broker
