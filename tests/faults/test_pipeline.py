"""NORMAL messages whose confirm nobody waits for: RabbitMQ has each of them, or the outbox."""

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from messaging import MessagePriority, ServiceCommunicator, codec
from messaging.batches import Copy
from messaging.context import handling
from messaging.envelope import Envelope, MessageKind
from messaging.errors import Unroutable
from messaging.events import message_published
from messaging.models import OutboxMessage
from tests.support.brokers import BROKERS, require
from tests.support.installation import ROOT, Installation
from tests.support.outage import proxied
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

SEND_AND_END = """
import django
django.setup()
from messaging import ServiceCommunicator
sender = ServiceCommunicator("tester")
for number in range(1000):
    sender.send_to_service("worker", "work", number)
"""


@pytest.fixture
def installation(tmp_path: Path, migrated_database: Path) -> Iterator[Installation]:
    require(BROKERS["amqp"])
    made = Installation(BROKERS["amqp"], tmp_path, migrated_database)
    made._services.add("worker")
    yield made
    made.close()


def queued(installation: Installation) -> set[str]:
    """Take everything out of the worker's queue; return the ids."""
    with Connection(BROKERS["amqp"].url) as connection:
        channel, ids = connection.channel(), set()
        while message := channel.basic_get(f"{installation.namespace}.worker", no_ack=True):
            ids.add(codec.decode(message.body).id)
        return ids


def kept() -> dict[str, str]:
    return dict(OutboxMessage.objects.values_list("message_id", "last_error"))


def send(sender: ServiceCommunicator, count: int) -> set[str]:
    return {sender.send_to_service("worker", "work", number) for number in range(count)}


def test_all_arrive_where_nothing_fails(installation: Installation) -> None:
    sender = installation.communicator()
    sent = send(sender, 2000)  # several windows
    assert sender.bus.flush(10)
    assert queued(installation) == sent
    assert kept() == {}


def test_what_was_not_confirmed_when_the_connection_broke_is_in_the_outbox(
    installation: Installation,
) -> None:
    with proxied(installation) as proxy:
        assert proxy is not None
        sender = installation.communicator()
        sent = send(sender, 300)
        proxy.cut()
        sent |= send(sender, 3)  # these see that there is no broker, and are kept at once
        assert sender.bus.flush(20)
        assert queued(installation) | kept().keys() == sent
        proxy.mend()
        sent = send(sender, 3)
        assert sender.bus.flush(10)
        assert queued(installation) == sent


def test_a_broker_that_confirms_nothing_is_not_waited_for(installation: Installation) -> None:
    with proxied(installation) as proxy:
        assert proxy is not None
        sender = installation.communicator(broker_timeout_seconds=1.0)
        first = send(sender, 1)
        assert sender.bus.flush(10)
        proxy.silence()
        sent = send(sender, 10)
        assert sender.bus.flush(20)
        assert kept().keys() == sent
        assert "confirmed nothing" in next(iter(kept().values()))
        assert first <= queued(installation)


def test_a_message_whose_queue_was_deleted_is_in_the_outbox(installation: Installation) -> None:
    sender = installation.communicator()
    send(sender, 1)
    assert sender.bus.flush(10)
    with Connection(BROKERS["amqp"].url) as connection:
        connection.channel().queue_delete(f"{installation.namespace}.worker")
    sent = send(sender, 1)
    assert sender.bus.flush(10)
    ((message_id, reason),) = kept().items()
    assert message_id == sent.pop()
    assert reason.startswith("no queue is bound")
    sent = send(sender, 1)  # declares it again
    assert sender.bus.flush(10)
    assert queued(installation) == sent


def test_what_a_handler_sends_has_arrived_before_the_handler_is_done(
    installation: Installation,
) -> None:
    sender = installation.communicator()
    sent = send(sender, 1)
    assert sender.bus.flush(10)
    with Connection(BROKERS["amqp"].url) as connection:
        body = connection.channel().basic_get(f"{installation.namespace}.worker").body
    with handling(codec.decode(body)):
        inside = send(sender, 1)
        assert not len(sender.bus.pipeline._sent)
    assert queued(installation) == inside | sent


@pytest.mark.parametrize("priority", [MessagePriority.LOW, MessagePriority.HIGH])
def test_others_are_confirmed_when_the_call_returns(
    installation: Installation, priority: MessagePriority
) -> None:
    sender = installation.communicator()
    sent = {sender.send_to_service("worker", "work", {}, priority=priority)}
    assert "pipeline" not in sender.bus.__dict__
    assert queued(installation) == sent


def test_a_process_that_ends_waits_for_its_confirms(installation: Installation) -> None:
    subprocess.run(
        [sys.executable, "-c", SEND_AND_END], cwd=ROOT, env=installation.environment(), check=True
    )
    assert len(queued(installation)) == 1000


def test_a_forked_child_sends_on_a_connection_of_its_own(installation: Installation) -> None:
    sender = installation.communicator()
    sent = send(sender, 5)
    child = os.fork()
    if not child:
        sender.send_to_service("worker", "work", {})
        os._exit(not sender.bus.flush(10))
    assert os.waitpid(child, 0)[1] == 0
    sent |= send(sender, 5)
    assert sender.bus.flush(10)
    found = queued(installation)
    assert sent < found
    assert len(found) == 11


def test_threads_share_it(installation: Installation) -> None:
    sender = installation.communicator()
    sent: set[str] = set()
    threads = [threading.Thread(target=lambda: sent.update(send(sender, 300))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sender.bus.flush(10)
    assert queued(installation) == sent
    assert len(sent) == 2400


def test_who_is_told_of_a_confirm_may_send(installation: Installation) -> None:
    sender = installation.communicator()
    sent: set[str] = set()

    def follow(envelope: Envelope, **_: Any) -> None:
        if envelope.data == "first":
            sent.add(sender.send_to_service("worker", "work", "second"))

    message_published.connect(follow, sender="tester")
    try:
        sent.add(sender.send_to_service("worker", "work", "first"))
        eventually(lambda: len(sent) == 2)
        assert sender.bus.flush(10)
    finally:
        message_published.disconnect(follow, sender="tester")
    assert queued(installation) == sent


def test_one_message_that_cannot_be_kept_does_not_hold_up_the_others(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(installation) as proxy:
        assert proxy is not None
        sender = installation.communicator(broker_timeout_seconds=1.0)
        keep, may_fail = sender.bus.dispatch.keep, [True, True]

        def fail_at_first(envelope: Envelope, error: str) -> None:
            if envelope.data == 0 and may_fail and may_fail.pop():
                raise RuntimeError("no database either")
            keep(envelope, error)

        monkeypatch.setattr(sender.bus.dispatch, "keep", fail_at_first)
        sent = send(sender, 1)
        assert sender.bus.flush(10)
        proxy.silence()
        sent = send(sender, 5)
        assert sender.bus.flush(20)
        assert kept().keys() == sent
        assert may_fail == []


def test_a_child_of_multiprocessing_waits_for_its_confirms(installation: Installation) -> None:
    sender = installation.communicator()
    child = multiprocessing.get_context("fork").Process(target=send, args=(sender, 300))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert len(queued(installation)) == 300


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_copies_of_one_broadcast_are_told_apart(
    installation: Installation, order: tuple[str, str]
) -> None:
    installation._services |= {"one", "two"}
    sender = installation.communicator()
    envelope = sender._composer.compose(
        MessageKind.COMMAND, "news", {}, target="one", priority=MessagePriority.CRITICAL
    )
    copy = Copy(envelope, codec.encode(envelope, None), "one", 1)
    with sender.bus._batches._late.publisher() as late:
        for number, service in enumerate(order):
            late.publish(number, sender.bus.addressed(copy._replace(to=service)))
        late.wait()
        late.confirmed.clear()
        with sender.bus.publisher() as publisher:
            publisher.delete_queue(sender.bus.topology.queue_name("two"))
        # As RabbitMQ may confirm them: both by one word, after what came back.
        late._publisher._channel.events["basic_ack"].clear()
        for number, service in enumerate(order):
            late.publish(number, sender.bus.addressed(copy._replace(to=service)))

        def has_come_back() -> bool:
            late.read(0.1)  # a confirm may come before
            return bool(late._returned)

        eventually(has_come_back)
        late._on_ack(4, True)
        assert list(late.confirmed) == [order.index("one")]
        ((number, error),) = late.failed
        assert number == order.index("two")
        assert isinstance(error, Unroutable)
