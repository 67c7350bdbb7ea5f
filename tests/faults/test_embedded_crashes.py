"""The embedded broker when processes die, stop, and write all at once."""

import signal
import sqlite3
import time

import kombu
import pytest

from tests.faults.embedded_processes import Process

pytestmark = pytest.mark.slow


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/broker.sqlite3"


@pytest.fixture
def connection(url):
    with kombu.Connection(url, transport_options={"lease_seconds": 60}) as connection:
        connection.default_channel.queue_declare("work", durable=True)
        yield connection


@pytest.fixture
def start():
    started = []

    def start(*arguments, **environment):
        process = Process(*arguments, **environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()


def next_message(connection, timeout):
    """Consume one message without settling it."""
    messages = []
    consumer = connection.Consumer(
        [kombu.Queue("work")], callbacks=[lambda _, message: messages.append(message)]
    )
    with consumer:
        connection.drain_events(timeout=timeout)
    return messages[0]


def bodies_in(url):
    with sqlite3.connect(url.removeprefix("sqlite:///")) as db:
        rows = db.execute("SELECT body FROM message ORDER BY id").fetchall()
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    return [row[0].decode() if isinstance(row[0], bytes) else row[0] for row in rows]


def test_what_a_killed_consumer_held_goes_to_another_within_five_seconds(url, connection, start):
    consumer = start("tests.faults.embedded_consumer", url, "60")
    assert consumer.facts() == {"ready": True}
    connection.Producer().publish("precious", routing_key="work")
    assert consumer.facts()["redelivered"] is False
    consumer.signal(signal.SIGKILL)
    began = time.monotonic()
    message = next_message(connection, timeout=5)
    assert time.monotonic() - began < 5
    assert message.payload == "precious"
    assert message.delivery_info["redelivered"] is True
    assert message.delivery_info["delivery_count"] == 1


def test_a_stopped_consumer_loses_its_lease_once_and_its_late_ack_is_fenced(
    url, connection, start
):
    consumer = start("tests.faults.embedded_consumer", url, "1.5")
    assert consumer.facts() == {"ready": True}
    connection.Producer().publish("precious", routing_key="work")
    assert consumer.facts()["body"] == "precious"
    consumer.signal(signal.SIGSTOP)
    message = next_message(connection, timeout=10)
    assert message.delivery_info["delivery_count"] == 1
    consumer.signal(signal.SIGCONT)
    consumer.tell()
    assert consumer.facts() == {"ack": "lost"}
    assert consumer.facts() == {"connection_error": "SessionLost"}
    message.ack()
    assert connection.default_channel.basic_get("work") is None
    assert bodies_in(url) == []


def test_a_long_handler_in_a_healthy_process_keeps_its_message(url, connection, start):
    consumer = start("tests.faults.embedded_consumer", url, "0.6")
    assert consumer.facts() == {"ready": True}
    connection.Producer().publish("slow", routing_key="work")
    assert consumer.facts()["body"] == "slow"
    with pytest.raises(TimeoutError):
        next_message(connection, timeout=4)  # six leases long
    consumer.tell()
    assert consumer.facts() == {"ack": "done"}


def test_eight_processes_publish_at_once_and_every_message_is_stored(url, connection, start):
    publishers = [
        start("tests.faults.embedded_publisher", url, str(number), "200") for number in range(8)
    ]
    printed = [line for publisher in publishers for line in publisher.rest()]
    assert len(printed) == 1600
    stored = bodies_in(url)
    assert sorted(stored) == sorted(printed)
    for number in range(8):  # FIFO per sender
        mine = [body for body in stored if body.startswith(f"{number}-")]
        assert mine == [f"{number}-{count}" for count in range(200)]


def test_killed_publishers_lose_nothing_that_returned_and_leave_the_file_whole(
    url, connection, start
):
    publishers = [
        start("tests.faults.embedded_publisher", url, str(number), "0") for number in range(3)
    ]
    for publisher in publishers:
        for _ in range(50):
            publisher.line()
        publisher.signal(signal.SIGKILL)
    returned = {line for publisher in publishers for line in publisher.rest()[:-1]}
    assert returned <= set(bodies_in(url))
