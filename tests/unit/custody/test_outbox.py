"""Outbox and relay on a real database and a real embedded broker."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from messaging import MessagingConfig, ServiceCommunicator, codec
from messaging.custody import due, epoch, inbox, outbox
from messaging.custody.relay import Relay
from messaging.envelope import Envelope, MessageKind, MessagePriority, utc_now
from messaging.errors import BrokerUnavailable
from messaging.models import InboxMessage, OutboxMessage
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db


@pytest.fixture
def communicator(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("sender", config=config)
    yield communicator
    communicator.close()


def a_command(**changes: object) -> Envelope:
    values = {"kind": MessageKind.COMMAND, "reply_to": None, "expires_at": None, "target": "b"}
    return an_envelope(**{**values, **changes})


def received(communicator: ServiceCommunicator, service: str) -> list[Envelope]:
    """Take everything out of a service's queue."""
    found = []
    with communicator.bus.connection() as connection:
        queue = communicator.bus.topology.service_queue(service)(connection.channel())
        queue.declare()
        while (message := queue.get(no_ack=True)) is not None:
            found.append(codec.decode(message.body))
    return found


def test_what_is_due_is_published_once_and_its_row_goes(
    communicator: ServiceCommunicator,
) -> None:
    outbox.store(a_command(id="now"))
    outbox.store(a_command(id="later"), delay_seconds=60)
    relay = Relay(communicator.bus, "sender")
    relay.work()
    relay.work()
    assert [envelope.id for envelope in received(communicator, "b")] == ["now"]
    assert [row.message_id for row in OutboxMessage.objects.all()] == ["later"]


def test_a_claimed_row_is_nobody_elses_until_the_claim_is_over() -> None:
    outbox.store(a_command())
    now = utc_now()
    assert len(due.claim_due(now)) == 1
    assert due.claim_due(now) == []
    assert len(due.claim_due(now + timedelta(seconds=outbox.CLAIM_SECONDS))) == 1


def test_the_most_urgent_are_claimed_first() -> None:
    for priority in MessagePriority:
        outbox.store(a_command(id=priority.value, priority=priority))
    claimed = [row.key.message_id for row in due.claim_due(utc_now(), limit=2)]
    assert sorted(claimed) == ["CRITICAL", "HIGH"]


def test_the_same_copy_is_kept_once() -> None:
    outbox.store(a_command())
    outbox.store(a_command(), delay_seconds=9)
    outbox.store(a_command(), to="another")
    outbox.store(a_command(generation=7))
    assert OutboxMessage.objects.count() == 3


def test_rows_stay_with_the_reason_while_the_broker_is_away(tmp_path: Path) -> None:
    config = MessagingConfig(broker_url="amqp://guest:guest@127.0.0.1:1//")
    away = ServiceCommunicator("sender", config=config)
    for number in range(3):
        outbox.store(a_command(id=str(number)))
    with pytest.raises(BrokerUnavailable):
        Relay(away.bus, "sender").work()
    rows = list(OutboxMessage.objects.all())
    assert len(rows) == 3
    assert all(row.last_error and row.failures == 0 for row in rows)
    due_in = due.seconds_until_due(utc_now())
    assert due_in is not None
    assert 1 < due_in <= 2


def test_a_message_that_is_refused_blocks_no_other(communicator: ServiceCommunicator) -> None:
    too_large = a_command(id="large", data="x" * 300_000)
    outbox.store(too_large)
    outbox.store(a_command(id="fine"))
    Relay(communicator.bus, "sender").work()
    assert [envelope.id for envelope in received(communicator, "b")] == ["fine"]
    row = OutboxMessage.objects.get()
    assert (row.message_id, row.failures) == ("large", 1)
    assert "over the limit" in row.last_error


def test_a_row_that_cannot_be_read_blocks_no_other(communicator: ServiceCommunicator) -> None:
    """A row of a later version, after that was rolled back."""
    outbox.store(a_command(id="unknown"))
    OutboxMessage.objects.update(envelope="written by a later version")
    outbox.store(a_command(id="fine"))
    for message_id in ("unknown", "fine"):
        inbox.keep_failed(
            a_command(id=message_id), "b", tries=1, delay_seconds=0, error="at first"
        )
    InboxMessage.objects.filter(message_id="unknown").update(envelope="as well")
    Relay(communicator.bus, "sender").work()
    assert [each.id for each in received(communicator, "b")] == ["fine", "fine"]
    row = OutboxMessage.objects.get()
    assert (row.message_id, row.failures) == ("unknown", 1)
    assert "not JSON" in row.last_error
    # So it is once its receiver has it, and is asked what became of it.
    OutboxMessage.objects.update(state="accepted", under_custody=True, due_at=utc_now())
    outbox.store(a_command(id="next"))
    Relay(communicator.bus, "sender").work()
    assert [each.id for each in received(communicator, "b")] == ["next"]


def test_a_turn_that_fails_for_whatever_reason_is_followed_by_another(
    communicator: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(communicator.bus, "sender")
    monkeypatch.setattr(relay, "work", lambda: 1 / 0)
    assert relay._turn() > 0


def test_a_backlog_without_end_keeps_no_relay_from_looking_after_the_broker(
    communicator: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the broker had come back empty nobody noticed."""
    relay = Relay(communicator.bus, "sender")
    looks, forgets, batches = [], [], []

    def work() -> int:
        batches.append(None)
        if len(batches) == 3:
            relay.stop()
        relay._epoch_at = 0.0  # as if a batch took longer than `relay.EPOCH_SECONDS`
        return due.BATCH

    monkeypatch.setattr(relay, "work", work)
    monkeypatch.setattr(epoch, "check", looks.append)
    monkeypatch.setattr(relay._retention, "turn", lambda: forgets.append(None))
    relay._turn()
    assert (len(batches), len(looks), len(forgets)) == (3, 3, 3)
