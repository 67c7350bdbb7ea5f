"""Copies that are published many at a time, on every broker: what is said of each is true."""

from collections import Counter

import pytest

from messaging import ServiceCommunicator, codec
from messaging.batches import Copy, is_away
from messaging.envelope import MessageKind, MessagePriority
from messaging.errors import MessageTooLarge
from tests.support.installation import Installation
from tests.support.outage import Outage, proxied


def copies(sender: ServiceCommunicator, *data: object) -> list[Copy]:
    made = []
    for each in data:
        envelope = sender._composer.compose(
            MessageKind.COMMAND,
            "work",
            each,
            target="worker",
            priority=MessagePriority.CRITICAL,
            under_custody=True,
        )
        made.append(Copy(envelope, codec.encode(envelope, None), "worker", 1))
    return made


def queued(sender: ServiceCommunicator) -> list[str]:
    """Take everything out of the worker's queue; return the ids in order."""
    ids: list[str] = []
    with sender.bus.connection() as connection:
        channel = connection.channel()
        while message := channel.basic_get(sender.bus.topology.queue_name("worker"), no_ack=True):
            ids.append(codec.decode(message.body).id)
    return ids


def ids_of(sent: list[Copy]) -> list[str]:
    return [copy.envelope.id for copy in sent]


@pytest.fixture
def sender(installation: Installation) -> ServiceCommunicator:
    installation._services.add("worker")
    return installation.communicator()


def test_all_arrive_in_order(sender: ServiceCommunicator) -> None:
    sent = copies(sender, *range(250))
    assert sender.bus.publish_all(sent) == [None] * 250
    assert queued(sender) == ids_of(sent)


def test_one_that_is_refused_does_not_keep_the_others(sender: ServiceCommunicator) -> None:
    sent = copies(sender, 1, "x" * 2 * sender.bus.config.max_message_bytes, 3)
    first, second, third = sender.bus.publish_all(sent)
    assert first is third is None
    assert isinstance(second, MessageTooLarge)
    assert set(queued(sender)) == {sent[0].envelope.id, sent[2].envelope.id}


def test_a_queue_that_was_deleted_is_made_anew(sender: ServiceCommunicator) -> None:
    assert sender.bus.publish_all(copies(sender, 1, 2)) == [None] * 2
    with sender.bus.publisher() as publisher:
        publisher.delete_queue(sender.bus.topology.queue_name("worker"))
    sent = copies(sender, 3, 4)
    assert sender.bus.publish_all(sent) == [None] * 2
    assert set(ids_of(sent)) <= set(queued(sender))


def test_a_broker_that_is_away_is_found_out_once(installation: Installation) -> None:
    installation._services.add("worker")
    if installation.features.name == "sqlite":
        installation.url = f"sqlite:///{installation.folder}/broker/broker.sqlite3"
        (installation.folder / "broker").mkdir()
    with proxied(installation) as proxy:
        sender = installation.communicator(broker_timeout_seconds=2.0)
        assert sender.bus.publish_all(copies(sender, 1, 2)) == [None] * 2
        outage = Outage(installation, proxy)
        outage.begin()
        lost = sender.bus.publish_all(copies(sender, *range(20)))
        assert all(is_away(error) for error in lost), lost
        assert Counter(map(id, lost)).most_common(1)[0][1] == 20  # tried no more after that
        outage.end()
        sent = copies(sender, 3, 4)
        assert sender.bus.publish_all(sent) == [None] * 2
        assert set(ids_of(sent)) <= set(queued(sender))
