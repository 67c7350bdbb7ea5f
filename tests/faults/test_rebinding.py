"""RabbitMQ comes back without bindings, and takes broadcasts before anybody is bound again."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import BROKERS, require
from tests.support.installation import Installation
from tests.support.outage import wipe
from tests.support.waiting import eventually

SERVICES = ("first", "second", "third")
#: What is sent after the wipe, at 20 a second: until well after all are bound again.
MESSAGES = 400


@pytest.fixture
def installation(tmp_path: Path, migrated_database: Path) -> Iterator[Installation]:
    require(BROKERS["amqp"])
    private = Installation(BROKERS["amqp"], tmp_path, migrated_database)
    yield private
    private.close()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("vhost")
def test_what_is_broadcast_after_a_wipe_finds_every_subscriber(installation: Installation) -> None:
    for service in SERVICES:
        installation.start_worker(service, patterns=("happened.*",))
    sender = installation.start(
        "tester", "python", "-m", "tests.support.steady_sender", STEADY_PRIORITY="NORMAL"
    )

    def broadcast() -> list[str]:
        whole, _, _ = sender.log.read_text().rpartition("\n")  # the last one may be half there
        lines = [line.split() for line in whole.splitlines()]
        return [line[1] for line in lines if line[0] == "happened.now"]

    def handled(service: str) -> set[str]:
        return {line["id"] for line in installation.journal(service).lines(event="handled")}

    eventually(lambda: all(handled(service) for service in SERVICES), 30)
    wipe(installation)
    before = len(broadcast())
    eventually(lambda: len(broadcast()) >= before + MESSAGES, 60)
    os.kill(sender.pid, signal.SIGTERM)
    eventually(lambda: not sender.is_running(), 30)
    # In hand when the connection broke, the first one may belong to the time before.
    sent = broadcast()[before + 1 :]
    for service in SERVICES:
        eventually(lambda each=service: set(sent) <= handled(each), 30, f"all at {service}")
