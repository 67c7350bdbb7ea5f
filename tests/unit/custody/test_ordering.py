"""Sequences in the outbox and the inbox: one at a time, in order, and none forgotten."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from messaging import MessagingConfig, ServiceCommunicator
from messaging.custody import inbox, operating, ordering, outbox
from messaging.custody.arrival import ONLY_COPY
from messaging.custody.begin import begin
from messaging.custody.inbox import Run
from messaging.custody.ordering import Sequence
from messaging.custody.outbox import Key
from messaging.custody.sql import Statement
from messaging.custody.why_not import NotRun
from messaging.models import InboxMessage, InboxState, OutboxMessage, OutboxState
from tests.unit.custody.test_outbox import a_command

pytestmark = pytest.mark.django_db(transaction=True)

KEY = Sequence("b", "account-7")


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("sender", config=config)
    yield communicator
    communicator.close()


def states() -> list[str]:
    return list(OutboxMessage.objects.order_by("pk").values_list("state", flat=True))


def queued(message_id: str, target: str = "b", key: str = "account-7") -> Key:
    envelope = a_command(id=message_id, target=target, ordering_key=key, custodian="sender")
    outbox.store(envelope, under_custody=True, queued=True)
    return Key(message_id, target, envelope.generation)


def test_the_first_goes_out_and_the_others_wait(sender: ServiceCommunicator) -> None:
    for _ in range(3):
        sender.send_to_service("b", "work", {}, ordering_key="account-7")
    sender.bus.dispatch.flush()
    assert states() == ["published", "queued", "queued"]
    assert OutboxMessage.objects.filter(under_custody=True).count() == 3


@pytest.mark.parametrize("outcome", ["handled", "parked", "expired"])
def test_the_next_goes_out_when_one_has_ended_whatever_its_end(outcome: str) -> None:
    first, _second = queued("1"), queued("2")
    assert [each.message_id for each in ordering.let_out([KEY])] == ["1"]
    outbox.settle(first, outcome)
    assert states() == [outcome, "pending"]


def test_the_next_waits_until_the_end_is_committed() -> None:
    first, _second = queued("1"), queued("2")
    ordering.let_out([KEY])
    with transaction.atomic():
        outbox.settle(first, "handled")
        assert states() == ["handled", "queued"]
    assert states() == ["handled", "pending"]


def test_an_end_that_is_rolled_back_lets_nothing_out() -> None:
    first, _second = queued("1"), queued("2")
    ordering.let_out([KEY])
    with transaction.atomic():
        outbox.settle(first, "handled")
        transaction.set_rollback(True)
    assert states() == ["pending", "queued"]


def test_what_a_receiver_has_accepted_is_still_under_way() -> None:
    first, _second = queued("1"), queued("2")
    ordering.let_out([KEY])
    outbox.accepted(first)
    assert ordering.let_out([KEY]) == []


def test_other_keys_and_other_targets_do_not_wait() -> None:
    queued("1")
    queued("2", key="account-8")
    queued("3", target="c")
    sequences = [KEY, Sequence("b", "account-8"), Sequence("c", "account-7")]
    assert {each.message_id for each in ordering.let_out(sequences)} == {"1", "2", "3"}


def test_the_database_refuses_a_second_one_under_way() -> None:
    queued("1")
    queued("2")
    with pytest.raises(IntegrityError):
        OutboxMessage.objects.update(state=OutboxState.ACCEPTED, due_at="2026-01-01T00:00Z")


def test_an_operator_who_ends_one_lets_the_next_out() -> None:
    queued("1")
    queued("2")
    ordering.let_out([KEY])
    operating.resolve(Q(message_id="1"), "gone")
    assert states() == ["resolved", "pending"]


def test_the_gap_of_a_process_that_was_killed_is_closed_by_a_relay() -> None:
    queued("1")
    queued("2", key="another")
    queued("3", key="another")
    ordering.Watch().turn()
    assert states() == ["pending", "pending", "queued"]


def test_a_look_goes_on_behind_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "LOOKED_AT", 2)
    for number in range(5):
        queued(str(number), key=f"key-{number}")
    watch = ordering.Watch()
    seen = []
    for _ in range(3):
        watch.turn()
        seen.append(states().count("pending"))
    assert seen == [2, 4, 5]


def test_a_look_costs_the_same_however_many_wait_in_a_sequence() -> None:
    """By the index, not by the rows: the plan names it for each statement."""
    if connection.vendor != "sqlite":
        pytest.skip("the plan is SQLite's")
    values = {**KEY._asdict(), "due_at": "x"}
    for statement, *indexes in (
        (ordering._NEXT_SEQUENCE, "messaging_outbox_queued"),
        (ordering._IS_UNDER_WAY, "messaging_outbox_one_at_a_time"),
        (ordering._LET_OUT, "messaging_outbox_queued", "messaging_outbox_one_at_a_time"),
    ):
        plan = str(Statement("EXPLAIN QUERY PLAN " + statement.text).fetch_all(values))
        assert all(index in plan for index in indexes)
        assert "SCAN messaging" not in plan
        assert "TEMP B-TREE" not in plan


def test_of_two_senders_one_is_run_and_the_other_looks_again() -> None:
    run = begin(a_command(id="1", source="x", custodian="x", ordering_key="k"), "b", ONLY_COPY, 3)
    other = a_command(id="2", source="y", custodian="y", ordering_key="k")
    assert isinstance(run, Run)
    assert isinstance(begin(other, "b", ONLY_COPY, 3), NotRun)
    row = InboxMessage.objects.get(message_id="2")
    assert (row.state, row.unended_runs, row.owes_receipt) == (InboxState.WAITING, 0, True)
    inbox.done(run)
    InboxMessage.objects.filter(message_id="2").update(state=InboxState.READY)
    assert isinstance(begin(other, "b", ONLY_COPY, 3), Run)


def test_nothing_stands_still_while_some_send_and_others_end() -> None:
    """Who stores and who ends look for the next both: no relay has to."""
    of_each, senders = 25, 3
    ended: list[str] = []

    def send(sender: int) -> None:
        for number in range(of_each):
            envelope = a_command(
                id=f"{sender}/{number}", ordering_key="account-7", custodian="sender"
            )
            with transaction.atomic():
                outbox.store(envelope, under_custody=True, queued=True)
                transaction.on_commit(lambda: ordering.go_on([KEY], None))
        connection.close()

    def end() -> None:
        while len(ended) < of_each * senders:
            row = OutboxMessage.objects.filter(state=OutboxState.PENDING).first()
            if row is not None:
                ended.append(row.message_id)
                outbox.settle(Key(row.message_id, row.target, row.generation), "handled")
        connection.close()

    threads = [threading.Thread(target=send, args=(n,)) for n in range(senders)]
    threads.append(threading.Thread(target=end, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert states() == ["handled"] * of_each * senders
    assert ended == list(OutboxMessage.objects.order_by("pk").values_list("message_id", flat=True))


def test_without_a_key_nothing_is_kept_apart() -> None:
    for number in range(2):
        assert isinstance(begin(a_command(id=str(number)), "b", ONLY_COPY, 3), Run)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ordering_key": ""}, "not an ordering key"),
        ({"ordering_key": "x" * 201}, "not an ordering key"),
        ({"ordering_key": 7}, "not an ordering key"),
        ({"ordering_key": "k", "delay": 5}, "hold up all behind it"),
    ],
)
def test_a_key_that_is_none_is_refused(
    sender: ServiceCommunicator, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        sender.send_to_service("b", "work", {}, **options)  # type: ignore[arg-type]
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize("options", [{"delay": 5.0}, {}])
@pytest.mark.parametrize("send_at", ["tomorrow", datetime(2027, 1, 31, 8)])  # noqa: DTZ001
def test_an_instant_that_is_none_is_refused(
    sender: ServiceCommunicator, send_at: object, options: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match="not both" if options else "offset from UTC"):
        sender.send_to_service("b", "work", {}, send_at=send_at, **options)  # type: ignore[arg-type]


def test_what_is_sent_at_an_instant_is_due_then(sender: ServiceCommunicator) -> None:
    instant = datetime(2027, 1, 31, 8, tzinfo=timezone(timedelta(hours=1)))
    sender.send_to_service("b", "work", {}, send_at=instant)
    row = OutboxMessage.objects.get()
    assert row.due_at is not None
    assert abs(row.due_at - instant) < timedelta(seconds=0.1)
