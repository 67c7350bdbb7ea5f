"""The receiver, a row at a time: atomic handlers, and what is said when a message is stuck."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection

from messaging import (
    ConfigurationError,
    MessagePriority,
    MessagingConfig,
    Reject,
    RetryPolicy,
    ServiceCommunicator,
    codec,
)
from messaging.custody import hot, inbox, runs
from messaging.custody.arrival import ONLY_COPY
from messaging.events import message_failed, message_stuck
from messaging.models import DedupHorizon, FailedRound, InboxMessage, OutboxMessage
from messaging.receiver import Receiver
from tests.unit.custody.test_inbox import critical

pytestmark = pytest.mark.django_db


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("b", config=config)
    yield communicator
    communicator.close()


def leave_a_mark() -> None:
    """Any row will do as an effect."""
    DedupHorizon.objects.create(
        service=str(DedupHorizon.objects.count()), source="x", purged_upto="2026-01-01T00:00Z"
    )


def test_an_atomic_handler_that_fails_leaves_nothing(service: ServiceCommunicator) -> None:
    @service.on_message("get.user.details", atomic=True, retry=RetryPolicy(immediate=2))
    def handle(_data: Any, message: Any) -> None:
        leave_a_mark()
        if message.attempt < 2:
            raise ValueError

    assert Receiver(service).receive(critical(), ONLY_COPY).error == ""
    assert DedupHorizon.objects.count() == 1
    assert InboxMessage.objects.get().state == "handled"


def test_what_is_rejected_is_parked_with_its_letter_in_one_transaction(
    service: ServiceCommunicator,
) -> None:
    @service.on_message("get.user.details", atomic=True)
    def handle(_data: Any) -> None:
        leave_a_mark()
        raise Reject("never")

    Receiver(service).receive(critical(), ONLY_COPY)
    assert DedupHorizon.objects.count() == 0
    assert InboxMessage.objects.get().state == "parked"
    letter = OutboxMessage.objects.get()
    assert (letter.type, letter.target, letter.priority) == (
        "bus.dead_letter",
        "api-gateway",
        "CRITICAL",
    )


def test_errors_not_worth_a_retry_park_at_once(service: ServiceCommunicator) -> None:
    @service.on_message("get.user.details", retry=RetryPolicy(give_up_on=(KeyError,)))
    def handle(_data: Any) -> None:
        raise KeyError("gone")

    Receiver(service).receive(critical(), ONLY_COPY)
    assert (InboxMessage.objects.get().state, InboxMessage.objects.get().attempts) == ("parked", 1)


def test_critical_is_never_given_up_and_somebody_is_told_at_ten(
    service: ServiceCommunicator,
) -> None:
    @service.on_message("get.user.details", retry=RetryPolicy(immediate=3, delayed=0))
    def handle(_data: Any) -> None:
        raise ValueError

    told: list[int] = []

    def on_stuck(tries: int, **_: Any) -> None:
        told.append(tries)

    message_stuck.connect(on_stuck)
    try:
        for _ in range(5):
            InboxMessage.objects.update(state="ready")
            Receiver(service).receive(critical(), ONLY_COPY)
    finally:
        message_stuck.disconnect(on_stuck)
    row = InboxMessage.objects.get()
    assert (row.state, row.attempts, told) == ("waiting", 15, [12])


@pytest.mark.parametrize(("priority", "rounds"), [("LOW", 2), ("NORMAL", 4)])
def test_a_durable_message_is_tried_as_its_priority_says_and_its_sender_is_told(
    service: ServiceCommunicator, priority: str, rounds: int
) -> None:
    """As every message with the ledger for all: once, from its row, and never for ever."""
    runs_of_it: list[str] = []

    @service.on_message("fine")
    def handle(_data: Any, message: Any) -> None:
        runs_of_it.append(message.id)

    @service.on_message("not.fine")
    def fail(_data: Any) -> None:
        raise ValueError

    for message_type in ("fine", "not.fine"):
        service.send_to_service("b", message_type, {}, priority=priority, durable=True)
    fine, not_fine = OutboxMessage.objects.order_by("pk")
    envelopes = {row.type: codec.decode(row.envelope) for row in (fine, not_fine)}
    assert {envelope.custodian for envelope in envelopes.values()} == {"b"}
    for _ in range(2):
        Receiver(service).receive(envelopes["fine"], ONLY_COPY)
    assert runs_of_it == [fine.message_id]
    for _ in range(rounds):
        assert OutboxMessage.objects.get(pk=not_fine.pk).state == "pending"
        InboxMessage.objects.filter(message_id=not_fine.message_id).update(state="ready")
        Receiver(service).receive(envelopes["not.fine"], ONLY_COPY)
    states = OutboxMessage.objects.filter(pk__in=(fine.pk, not_fine.pk)).order_by("pk")
    assert [row.state for row in states] == ["handled", "parked"]
    (letter,) = OutboxMessage.objects.filter(type="bus.dead_letter")
    assert letter.target == "api-gateway"


def test_an_atomic_handler_cannot_be_async(service: ServiceCommunicator) -> None:
    async def handle(_data: Any) -> None: ...

    service.on_message("fine")(handle)
    service.on_message("not.fine", atomic=True)(handle)
    with pytest.raises(ConfigurationError, match="async"):
        assert service.bus


def test_a_lost_lease_without_custody_leaves_the_message_with_the_broker(
    service: ServiceCommunicator,
) -> None:
    """It was acknowledged, and its row had no payload: nobody had the message any more."""

    @service.on_message("get.user.details", atomic=True)
    def handle(_data: Any) -> None:
        InboxMessage.objects.update(run_token="somebody else's")

    normal = critical(custodian=None, priority=MessagePriority.NORMAL)
    assert not Receiver(service).receive(normal, ONLY_COPY).is_settled
    assert Receiver(service).receive(critical(id="n"), ONLY_COPY).is_settled


@pytest.fixture
def broken_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Runs to be given back, which no thread does here."""
    monkeypatch.setattr(runs.RUNS, "_start", lambda: None)
    yield runs.RUNS._broken_off
    runs.RUNS._broken_off.clear()


def give_back(broken_off: dict[str, int]) -> None:
    """Have the only run that was broken off given back; make sure that it does not count."""
    ((token, row_id),) = broken_off.items()
    assert runs._give_back(token, row_id)
    broken_off.clear()
    row = InboxMessage.objects.get()
    assert (row.state, row.unended_runs) == ("ready", 0)


@pytest.mark.django_db(transaction=True)  # its connection is closed
def test_a_database_that_fails_at_the_end_of_a_run_does_not_count_as_a_death(
    service: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch, broken_off: dict[str, int]
) -> None:
    @service.on_message("get.user.details")
    def handle(_data: Any) -> None:
        raise ValueError

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("gone away")

    monkeypatch.setattr(inbox, "fail", fail)
    assert not Receiver(service).receive(critical(), ONLY_COPY).is_settled
    give_back(broken_off)


@pytest.mark.django_db(transaction=True)
def test_a_dead_letter_that_cannot_be_stored_does_not_count_as_a_death(
    service: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch, broken_off: dict[str, int]
) -> None:
    """On a full disk what its handler had refused was parked as what kills its process."""

    @service.on_message("get.user.details", atomic=True)
    def handle(_data: Any) -> None:
        raise Reject("never")

    def fail(*_: Any) -> None:
        raise OperationalError("database or disk is full")

    closed = []
    with monkeypatch.context() as full:
        full.setattr(hot, "STORE", SimpleNamespace(run=fail))
        full.setattr(connection, "close", lambda: closed.append(1))
        for count in range(1, 4):
            assert not Receiver(service).receive(critical(), ONLY_COPY).is_settled
            assert len(closed) == count  # the next message has a sound one
            give_back(broken_off)
    assert Receiver(service).receive(critical(), ONLY_COPY).is_settled
    letter = codec.decode(OutboxMessage.objects.get().envelope)
    assert letter.data["reason"] == "rejected"


@pytest.mark.django_db(transaction=True)
def test_what_was_handled_and_could_not_be_noted_comes_again_and_is_no_failure(
    service: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch, broken_off: dict[str, int]
) -> None:
    """It was handled three times in one delivery, and its handler was blamed for the database."""
    calls: list[int] = []
    failures: list[BaseException] = []

    @service.on_message("get.user.details")
    def handle(_data: Any, message: Any) -> None:
        calls.append(message.attempt)

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("database is locked")

    def on_failure(error: BaseException, **_: Any) -> None:
        failures.append(error)

    message_failed.connect(on_failure)
    try:
        with monkeypatch.context() as locked:
            locked.setattr(inbox, "done", fail)
            assert not Receiver(service).receive(critical(), ONLY_COPY).is_settled
        assert calls == [1]
        give_back(broken_off)
        assert Receiver(service).receive(critical(), ONLY_COPY).error == ""
    finally:
        message_failed.disconnect(on_failure)
    assert (calls, failures, FailedRound.objects.count()) == ([1, 1], [], 0)
    assert InboxMessage.objects.get().state == "handled"
