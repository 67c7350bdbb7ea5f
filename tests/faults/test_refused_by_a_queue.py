"""RabbitMQ nacks what a queue may not take: that message fails, and no other."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from messaging import MessageBus, ServiceCommunicator
from messaging.clock import BUS_CLOCK
from messaging.custody import outbox, schedule, sending
from messaging.custody.relay import Relay
from messaging.envelope import utc_now
from messaging.errors import PartlyRefused, PublishError, PublishUncertain
from messaging.models import InboxMessage, OutboxMessage
from tests.support.brokers import BROKERS, require
from tests.support.installation import Installation
from tests.support.outage import proxied, rabbitmqctl
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("vhost")]


@pytest.fixture
def installation(tmp_path: Path, migrated_database: Path) -> Iterator[Installation]:
    require(BROKERS["amqp"])
    private = Installation(BROKERS["amqp"], tmp_path, migrated_database)
    yield private
    private.close()


@pytest.fixture
def sender(installation: Installation) -> Iterator[ServiceCommunicator]:
    """A sender on whose broker the queue of the service ``full`` takes no second message."""
    sender = installation.communicator()
    queue = sender.bus.topology.queue_name("full")
    vhost = urlsplit(installation.url).path.removeprefix("/")
    limit = json.dumps({"max-length": 1, "overflow": "reject-publish"})
    pattern = f"^{queue.replace('.', '[.]')}$"
    rabbitmqctl("set_policy", "-p", vhost, "limit", pattern, limit, "--apply-to", "queues")
    sender.send_to_service("full", "work", 1, priority="HIGH")
    yield sender
    sender.close()


@pytest.fixture
def left_to_relay(sender: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """A relay, which finds all that is sent: as if the sender died as soon as it is stored."""
    monkeypatch.setattr(sender.bus.dispatch.handoff, "give", lambda *_: None)
    return Relay(sender.bus, "tester")


def length(bus: MessageBus, service: str) -> int | None:
    with bus.publisher() as publisher:
        return publisher.queue_length(bus.topology.queue_name(service))


def turn(relay: Relay) -> None:
    """Have it publish what it has not, also what it would try later."""
    OutboxMessage.objects.filter(state="pending").update(due_at=utc_now())
    relay._turn()


def rows() -> dict[str, str]:
    return dict(OutboxMessage.objects.values_list("target", "state"))


@pytest.mark.parametrize("priority", ["HIGH", "LOW"])
def test_its_sender_learns_that_it_was_not_sent(
    sender: ServiceCommunicator, priority: str
) -> None:
    with pytest.raises(PublishError, match="refused the message") as refused:
        sender.send_to_service("full", "work", 2, priority=priority)
    assert not isinstance(refused.value, PublishUncertain)
    assert length(sender.bus, "full") == 1


def test_a_relay_marks_the_others_as_published_and_tries_it_less_often(
    sender: ServiceCommunicator, left_to_relay: Relay
) -> None:
    sender.send_to_service("full", "work", 2, priority="CRITICAL")
    for number in range(5):
        sender.send_to_service("healthy", "work", number, priority="CRITICAL")
    turn(left_to_relay)
    turn(left_to_relay)
    assert rows() == {"full": "pending", "healthy": "published"}
    refused = OutboxMessage.objects.get(target="full")
    assert refused.failures == 2
    assert "refused the message" in refused.last_error
    assert length(sender.bus, "healthy") == 5


def test_a_broadcast_that_one_queue_refuses_is_kept_and_reaches_it_later(
    sender: ServiceCommunicator, left_to_relay: Relay
) -> None:
    bus = sender.bus
    for service in ("full", "healthy"):
        with bus.publisher() as publisher:
            publisher.declare(bus.topology.worker_queue(service, ["happened.#"]))
    with pytest.raises(PartlyRefused, match="others may have it"):
        sender.broadcast("happened.now", {}, priority="LOW")
    message_id = sender.broadcast("happened.now", {}, priority="HIGH")
    sender.send_to_service("other", "work", {}, priority="CRITICAL")
    turn(left_to_relay)
    assert OutboxMessage.objects.get(message_id=message_id).failures == 1
    assert rows()["other"] == "published"  # the broker is not away
    with bus.publisher() as publisher:
        publisher._channel.queue_purge(bus.topology.queue_name("full"))
    turn(left_to_relay)
    assert not OutboxMessage.objects.filter(message_id=message_id).exists()
    assert length(bus, "full") == 1


def test_an_error_that_nobody_knows_is_that_of_one_message(
    sender: ServiceCommunicator, left_to_relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = sender.bus.publish

    def fail_once(envelope: Any, **options: Any) -> None:
        if envelope.data == "bad":
            raise RuntimeError("of the driver")
        publish(envelope, **options)

    monkeypatch.setattr(sender.bus, "publish", fail_once)
    monkeypatch.setattr(sender.bus._batches, "_together", lambda copies: ())
    ids = {
        data: sender.send_to_service("other", "work", data, priority="CRITICAL")
        for data in ("first", "bad", "last")
    }
    turn(left_to_relay)
    states = dict(OutboxMessage.objects.values_list("message_id", "state"))
    assert {data: states[ids[data]] for data in ids} == {
        "first": "published",
        "bad": "pending",
        "last": "published",
    }
    assert "of the driver" in OutboxMessage.objects.get(message_id=ids["bad"]).last_error


def test_an_interrupted_message_leaves_no_confirm_for_the_next_one(
    installation: Installation, sender: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What RabbitMQ refused counted as sent: the confirm that came was that of another."""

    class TimeLimit(Exception):
        pass

    with proxied(installation) as proxy:
        assert proxy is not None
        remote = installation.communicator("remote")
        remote.send_to_service("other", "work", 1, priority="HIGH")
        with remote.bus.publisher() as publisher:
            # Declaring it later would read the confirm.
            publisher.declare(remote.bus.topology.service_queue("full"))
            channel = publisher._channel
        wait, interrupts = channel.wait, [TimeLimit()]

        def interrupted(*arguments: Any, **options: Any) -> Any:
            if interrupts:
                raise interrupts.pop()
            return wait(*arguments, **options)

        monkeypatch.setattr(channel, "wait", interrupted)
        proxy.delay_seconds = 0.1  # so that the next message is sent before the confirm comes
        with pytest.raises(TimeLimit):
            remote.send_to_service("other", "work", 2, priority="HIGH")
        with pytest.raises(PublishError, match="refused the message"):
            remote.send_to_service("full", "work", 2, priority="LOW")
        remote.close()
    eventually(lambda: length(sender.bus, "other") == 2)
    assert length(sender.bus, "full") == 1


@pytest.fixture
def refusing(sender: ServiceCommunicator) -> str:
    """A service whose custody queue somebody has declared in another way: it takes nothing."""
    queue = sender.bus.topology.custody_queue("refusing")
    with sender.bus.connection() as connection:
        connection.channel().queue_declare(queue.name, durable=False, auto_delete=False)
    return "refusing"


def owe_receipts(custodian: str, count: int) -> None:
    now = utc_now()
    InboxMessage.objects.bulk_create(
        InboxMessage(
            message_id=f"{custodian}-{number}",
            service="worker",
            source=custodian,
            custodian=custodian,
            type="work",
            priority="CRITICAL",
            created_at=now,
            finished_at=now,
            state="handled",
            owes_receipt=True,
        )
        for number in range(count)
    )


def told(bus: MessageBus, custodian: str) -> int:
    """Take what is in a custody queue; return how many receipts it has."""
    count = 0
    with bus.connection() as connection:
        channel = connection.channel()
        while message := channel.basic_get(
            bus.topology.custody_queue(custodian).name, no_ack=True
        ):
            count += len(json.loads(message.body)[0][0]["entries"])
    return count


def owed(custodian: str) -> int:
    return InboxMessage.objects.filter(custodian=custodian, owes_receipt=True).count()


def test_a_custodian_that_takes_no_receipts_keeps_no_other_from_its_own(
    sender: ServiceCommunicator,
    refusing: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    many = schedule.BATCH + 5
    owe_receipts(refusing, many)
    owe_receipts("good", 5)
    relay, passed_seconds = Relay(sender.bus, "worker"), 0.0
    monotonic = BUS_CLOCK.monotonic
    monkeypatch.setattr(BUS_CLOCK, "monotonic", lambda: monotonic() + passed_seconds)
    for _ in range(3):
        relay._turn()
    assert told(sender.bus, "good") == 5
    assert sum("receipts for refusing" in text for text in caplog.messages) == 1
    with sender.bus.connection() as connection:
        connection.channel().queue_delete(sender.bus.topology.custody_queue(refusing).name)
    passed_seconds = sending.REFUSED_CAP_SECONDS
    relay._turn()
    assert told(sender.bus, refusing) == many


def test_receipts_that_were_refused_are_owed_when_the_relay_ends(
    sender: ServiceCommunicator, refusing: str
) -> None:
    owe_receipts(refusing, 3)
    relay = Relay(sender.bus, "worker")
    relay._turn()
    assert owed(refusing) == 0
    relay.stop()
    relay.run()
    assert owed(refusing) == 3


def test_a_receiver_that_takes_no_questions_keeps_nobody_from_being_published_or_asked(
    sender: ServiceCommunicator, refusing: str, left_to_relay: Relay
) -> None:
    for target in (refusing, "good"):
        sender.send_to_service(target, "work", 1, priority="CRITICAL")
    OutboxMessage.objects.update(state="accepted", told_at=utc_now(), due_at=utc_now())
    sender.send_to_service("another", "work", 1, priority="CRITICAL")
    turn(left_to_relay)
    assert rows() == {refusing: "accepted", "good": "accepted", "another": "published"}
    with sender.bus.publisher() as publisher:
        assert publisher.queue_length(sender.bus.topology.custody_queue("good").name) == 1
    later = OutboxMessage.objects.filter(
        state="accepted", due_at__gt=utc_now() + timedelta(seconds=outbox.CLAIM_SECONDS)
    )
    errors = dict(later.values_list("target", "last_error"))
    assert errors.keys() == {refusing, "good"}
    assert "cannot be declared" in errors[refusing]
    assert errors["good"] == ""
