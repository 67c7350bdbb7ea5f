"""RabbitMQ with quorum queues, as the setting ``rabbitmq_queues`` asks for."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu import Consumer, Message

from messaging import MessagePriority
from tests.support.brokers import BROKERS, require
from tests.support.installation import Installation
from tests.support.waiting import eventually

COUNT = 200
#: RabbitMQ 4 drops a message after twenty deliveries, where nobody says otherwise.
DELIVERIES = 25

pytestmark = pytest.mark.usefixtures("vhost")


@pytest.fixture
def installation(tmp_path: Path, migrated_database: Path) -> Iterator[Installation]:
    require(BROKERS["amqp"])
    private = Installation(BROKERS["amqp"], tmp_path, migrated_database)
    private.settings["rabbitmq_queues"] = "quorum"
    yield private
    private.close()


def types(installation: Installation) -> dict[str, str]:
    """Return the type of each queue in the virtual host of the test."""
    vhost = urlsplit(installation.url).path.removeprefix("/")
    command = ["rabbitmqctl", "--quiet", "list_queues", "-p", vhost, "name", "type"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: kind.rpartition("_")[0] or kind for name, kind in lines if name != "name"}


def test_what_lasts_is_a_quorum_queue_and_works_as_ever(installation: Installation) -> None:
    installation.start_worker("first", patterns=("document.*",))
    installation.start_worker("second", patterns=("document.*",))
    sender = installation.communicator()
    assert sender.request("first", "echo", 1, timeout=10) == 1
    message_id = sender.broadcast("document.created", {})
    for service in ("first", "second"):
        journal = installation.journal(service)
        eventually(lambda each=journal: each.lines(event="handled", id=message_id))
    found = types(installation)
    kinds = {name.partition(".")[2]: kind for name, kind in found.items()}
    assert kinds["first"] == kinds["second"] == kinds["first.custody"] == "quorum"
    assert not [name for name in found if "celery_delayed" in name]


def test_a_killed_worker_loses_nothing(installation: Installation) -> None:
    sender = installation.communicator()
    for number in range(COUNT):
        data = {"n": number, "seconds": 0.01}
        sender.send_to_service("killed", "work", data, priority=MessagePriority.NORMAL)
    first = installation.start_worker("killed")
    journal = installation.journal("killed")

    def handled() -> set[int]:
        return {line["data"]["n"] for line in journal.lines(event="handled")}

    eventually(lambda: len(handled()) >= COUNT // 10)
    first.kill()
    assert len(handled()) < COUNT
    installation.start_worker("killed")
    eventually(lambda: len(handled()) == COUNT, 30)


def test_a_message_outlives_any_number_of_deliveries(installation: Installation) -> None:
    sender = installation.communicator()
    sender.send_to_service("patient", "work", {}, priority=MessagePriority.HIGH)
    deliveries = 0

    def refuse(message: Message) -> None:
        nonlocal deliveries
        deliveries += 1
        message.reject(requeue=True)

    queue = sender.bus.topology.service_queue("patient")
    with sender.bus.connection() as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        with Consumer(channel, [queue], on_message=refuse):
            while deliveries < DELIVERIES:
                connection.drain_events(timeout=5)
    with sender.bus.publisher() as publisher:
        waiting = sender.bus.topology.queue_name("patient")
        eventually(lambda: publisher.queue_length(waiting) == 1)
