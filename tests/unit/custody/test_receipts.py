"""Receipts and questions, as between services with databases of their own."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DataError

from messaging import MessagingConfig, ServiceCommunicator
from messaging.custody import inbox, outbox, schedule
from messaging.custody.arrival import ONLY_COPY
from messaging.custody.begin import begin
from messaging.custody.control import Control, answer_to, apply_receipts
from messaging.custody.inbox import Run
from messaging.custody.receipts import Ask, Entry, Question, Receipt, read, receipt_message
from messaging.custody.relay import Relay
from messaging.envelope import Envelope, utc_now
from messaging.errors import DecodeError
from messaging.models import DedupHorizon, InboxMessage, OutboxMessage
from messaging.signing import NO_KEYS
from tests.support.waiting import eventually
from tests.unit.custody.test_inbox import critical

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def communicator(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("a", config=config)
    yield communicator
    communicator.close()


def received(envelope: Envelope) -> Run:
    run = begin(envelope, "b", ONLY_COPY, 3)
    assert isinstance(run, Run)
    return run


def sent_elsewhere(envelope: Envelope) -> None:
    """Put the sender's row where the receiver did not see it, as in another database."""
    outbox.store(envelope, under_custody=True)


def test_a_receipt_travels_from_the_receivers_row_to_the_senders(
    communicator: ServiceCommunicator,
) -> None:
    envelope = critical()
    inbox.done(received(envelope))
    assert InboxMessage.objects.get().owes_receipt
    sent_elsewhere(envelope)
    control = Control(communicator.bus, "a")
    control.start()
    try:
        Relay(communicator.bus, "b").work()
        eventually(lambda: OutboxMessage.objects.get().state == "handled")
    finally:
        control.stop()
    assert not InboxMessage.objects.get().owes_receipt


def test_a_receipt_counts_only_from_the_service_the_message_was_for() -> None:
    sent_elsewhere(critical())
    apply_receipts([Receipt("c", (Entry("m", 0, "handled"),))])
    assert OutboxMessage.objects.get().state == "pending"
    apply_receipts([Receipt("b", (Entry("m", 0, "accepted"),))])
    assert OutboxMessage.objects.get().state == "accepted"
    apply_receipts([Receipt("b", (Entry("m", 0, "parked", "why"),))])
    assert (OutboxMessage.objects.get().state, OutboxMessage.objects.get().reason) == (
        "parked",
        "why",
    )


def test_a_question_has_the_outcome_told_again() -> None:
    inbox.done(received(critical()))
    InboxMessage.objects.update(owes_receipt=False)
    assert answer_to(Ask("a", (Question("m", 0, "a", 0.0),)), "b") == []
    assert InboxMessage.objects.get().owes_receipt


def test_what_the_receiver_has_forgotten_is_settled_and_what_it_never_had_is_unknown() -> None:
    # What is not under custody is forgotten sooner, and says nothing of what is.
    DedupHorizon.objects.create(
        service="b",
        source="a",
        purged_upto=utc_now(),
        custody_purged_upto=utc_now() - timedelta(days=30),
    )
    old, new = utc_now() - timedelta(days=40), utc_now() - timedelta(days=1)
    about = tuple(Question(n, 0, "a", at.timestamp()) for n, at in (("old", old), ("new", new)))
    answers = {entry.message_id: entry.outcome for entry in answer_to(Ask("a", about), "b")}
    assert answers == {"old": "settled", "new": "unknown"}


def test_of_what_its_receiver_lost_the_row_says_so_and_stays_open() -> None:
    sent_elsewhere(critical())
    apply_receipts([Receipt("b", (Entry("m", 0, "accepted"), Entry("m", 0, "unknown")))])
    row = OutboxMessage.objects.get()
    assert (row.state, row.reason) == ("accepted", outbox.UNKNOWN)


@pytest.mark.parametrize(
    ("task", "body"),
    [
        ("messaging.receipt", "{nonsense"),
        ("messaging.receipt", "[[],{},{}]"),
        ("messaging.receipt", '[[{"service":"b","entries":[["m",0,"lost",""]]}],{},{}]'),
        ("messaging.receipt", '[[{"service":"b c","entries":[]}],{},{}]'),
        ("os.system", receipt_message("b", [Entry("m", 0, "handled")], NO_KEYS).body),
        (None, "[]"),
    ],
)
def test_what_is_neither_receipt_nor_question_is_refused(task: str | None, body: str) -> None:
    with pytest.raises(DecodeError):
        read(task, body, NO_KEYS)


def test_a_row_that_ends_while_its_receipt_is_written_owes_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The outcome was never told: the debt of the end was cleared with that of the beginning."""
    run = received(critical())
    clear = schedule._clear_debts

    def end_first(rows: list[InboxMessage]) -> set[int]:
        inbox.done(run)
        return clear(rows)

    monkeypatch.setattr(schedule, "_clear_debts", end_first)
    assert schedule.claim_receipts() == []
    monkeypatch.undo()
    (owed,) = schedule.claim_receipts()
    assert owed.entry.outcome == "handled"
    assert schedule.claim_receipts() == []


@pytest.mark.parametrize("generation", ["Infinity", "1e30", "-1", '"x"'])
def test_a_number_that_no_database_holds_is_refused(generation: str) -> None:
    body = f'[[{{"service":"b","entries":[["m",{generation},"handled",""]]}}],{{}},{{}}]'
    with pytest.raises(DecodeError):
        read("messaging.receipt", body, NO_KEYS)


def test_what_the_database_refuses_of_a_round_keeps_nothing_else_from_being_noted(
    communicator: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = outbox.settle

    def refuse_one(key: outbox.Key, outcome: str, reason: str = "") -> bool:
        if key.message_id == "bad":
            raise DataError("no such text")
        return settle(key, outcome, reason)

    monkeypatch.setattr(outbox, "settle", refuse_one)
    names = ("a", "bad", "m")
    for name in names:
        sent_elsewhere(critical(id=name))
    control = Control(communicator.bus, "a")
    control._apply_receipts([Receipt("b", tuple(Entry(each, 0, "handled") for each in names))])
    states = OutboxMessage.objects.order_by("message_id").values_list("message_id", "state")
    assert list(states) == [("a", "handled"), ("bad", "pending"), ("m", "handled")]


def test_of_services_in_one_database_each_tells_what_it_has_the_key_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The relay of one took the receipts of all, could not sign them, and told nobody."""
    for message_id, service in (("m1", "b"), ("m2", "c")):
        begun = begin(critical(id=message_id, custodian="z"), service, ONLY_COPY, 3)
        assert isinstance(begun, Run)
        inbox.done(begun)
    keys = f"b@b:{'b' * 40},z@z:{'z' * 40}"
    config = MessagingConfig(broker_url="sqlite:////x", signing_keys=keys)
    bus = ServiceCommunicator("b", config=config).bus
    assert bus.keyring.speakers == frozenset({"b", "z"})
    owed = schedule.claim_receipts(bus.keyring.speakers)
    assert [receipt.service for receipt in owed] == ["b"]
    assert [row.service for row in InboxMessage.objects.filter(owes_receipt=True)] == ["c"]
