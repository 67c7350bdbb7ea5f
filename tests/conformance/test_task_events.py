"""What monitors of Celery see of a worker that was asked for task events."""

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery.events import EventReceiver
from celery.events.state import State, Task

from tests.support.installation import Installation
from tests.support.waiting import eventually


class Monitor:
    """Celery's own receiver of events, as Flower has it."""

    def __init__(self, installation: Installation) -> None:
        self.state = State()
        self.seen: list[dict[str, Any]] = []
        app = installation.communicator("monitor").celery_app
        self._connection = app.connection_for_read()
        self._receiver = EventReceiver(self._connection, {"*": self._on_event}, app=app)
        self._is_reading = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._is_reading.wait(10)

    def _on_event(self, event: dict[str, Any]) -> None:
        self.seen.append(event)
        self.state.event(event)

    def _read(self) -> None:
        with self._receiver.consumer_context() as (connection, _channel, _consumers):
            self._is_reading.set()
            while not self._receiver.should_stop:
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    continue

    def task(self, message_id: str) -> Task | None:
        return self.state.tasks.get(message_id)

    def kinds(self, uuid: str) -> list[str]:
        return [event["type"] for event in self.seen if event.get("uuid") == uuid]

    def close(self) -> None:
        self._receiver.should_stop = True
        self._thread.join(10)
        self._connection.release()


@pytest.fixture
def monitor(installation: Installation) -> Iterator[Monitor]:
    made = Monitor(installation)
    yield made
    made.close()


def test_each_message_is_seen_to_come_to_begin_and_to_end(
    installation: Installation, monitor: Monitor
) -> None:
    installation.start_worker("watched", arguments=["-E"])
    sender = installation.communicator()
    good = sender.send_to_service("watched", "work", {"secret": 'a "word"'})
    bad = sender.send_to_service("watched", "fail", {"times": 9})
    eventually(lambda: bool((task := monitor.task(good)) and task.state == "SUCCESS"), 10)
    eventually(lambda: bool((task := monitor.task(bad)) and task.state == "FAILURE"), 20)
    assert monitor.kinds(good) == ["task-received", "task-started", "task-succeeded"]
    task = monitor.task(good)
    assert task is not None
    assert task.name == "work"
    assert task.args == "(command tester -> watched)"
    assert task.root_id == good
    assert 0 < task.received <= task.started <= task.succeeded
    assert 0 <= task.runtime < 5
    assert task.worker.hostname.startswith("watched")
    assert not any("secret" in str(event) for event in monitor.seen)


def test_a_handler_at_work_is_seen_before_it_ends(
    installation: Installation, monitor: Monitor
) -> None:
    installation.start_worker("watched", arguments=["-E"])
    slow = installation.communicator().send_to_service("watched", "work", {"seconds": 30})
    eventually(lambda: bool((task := monitor.task(slow)) and task.state == "STARTED"), 10)


def test_what_a_burst_brings_is_all_seen_in_few_messages(
    installation: Installation, monitor: Monitor
) -> None:
    installation.start_worker("watched", arguments=["-E"])
    sender = installation.communicator()
    sent = [sender.send_to_service("watched", "work", number) for number in range(600)]
    eventually(
        lambda: all((task := monitor.task(each)) and task.state == "SUCCESS" for each in sent), 20
    )


def test_a_worker_that_was_not_asked_says_nothing_of_messages(
    installation: Installation, monitor: Monitor
) -> None:
    installation.start_worker("watched")
    journal = installation.journal("watched")
    sent = installation.communicator().send_to_service("watched", "work", {})
    eventually(lambda: any(line["id"] == sent for line in journal.lines(event="handled")))
    eventually(lambda: any(event["type"] == "worker-heartbeat" for event in monitor.seen), 10)
    assert not any(event["type"].startswith("task-") for event in monitor.seen)


def test_the_last_ones_are_sent_when_the_worker_ends(
    installation: Installation, monitor: Monitor
) -> None:
    worker = installation.start_worker("watched", arguments=["-E"])
    slow = installation.communicator().send_to_service("watched", "work", {"seconds": 1})
    eventually(lambda: bool((task := monitor.task(slow)) and task.state == "STARTED"), 10)
    worker.signal(signal.SIGTERM)
    eventually(lambda: bool((task := monitor.task(slow)) and task.state == "SUCCESS"), 10)
