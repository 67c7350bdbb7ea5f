"""Rows of the inbox: who may run what, and the traces that once lost or doubled a message."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction

from messaging import MessagePriority, MessagingConfig
from messaging.custody import begin as beginning
from messaging.custody import hot, inbox, outbox, retention, schedule, shared
from messaging.custody.arrival import ONLY_COPY, Arrival
from messaging.custody.begin import begin
from messaging.custody.inbox import Run
from messaging.custody.outbox import Key
from messaging.custody.owner import is_dead, process, this_process
from messaging.custody.runs import RUNS
from messaging.custody.why_not import MustPark, NotRun
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope, MessageKind, utc_now
from messaging.errors import LeaseLost
from messaging.models import DedupHorizon, FailedRound, InboxMessage, OutboxMessage
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db

REDELIVERED = Arrival(redelivered=True)


def critical(**changes: Any) -> Envelope:
    values = {
        "id": "m",
        "kind": MessageKind.COMMAND,
        "priority": MessagePriority.CRITICAL,
        "source": "a",
        "target": "b",
        "generation": 0,
        "reply_to": None,
        "expires_at": None,
        "created_at": utc_now(),
        "custodian": "a",
    }
    return an_envelope(**{**values, **changes})


def keep(envelope: Envelope) -> Key:
    outbox.store(envelope, under_custody=True)
    return Key(envelope.id, envelope.target, envelope.generation)


def run_of(envelope: Envelope, arrival: Arrival = ONLY_COPY) -> Run:
    found = begin(envelope, "b", arrival, 3)
    assert isinstance(found, Run), found
    return found


def row() -> InboxMessage:
    return InboxMessage.objects.get()


def die() -> None:
    """Have the process of the present run be one that is gone."""
    RUNS.release_suspect(row().run_token)
    InboxMessage.objects.update(owner=this_process().rpartition("/")[0] + "/0")


def test_a_second_copy_does_not_run_while_the_first_one_does_and_is_answered() -> None:
    run_of(critical())
    InboxMessage.objects.update(owes_receipt=False)
    again = begin(critical(), "b", ONLY_COPY, 3)
    assert isinstance(again, NotRun)
    assert row().owes_receipt  # silence would have the sender repeat for ever


def test_a_handled_message_is_not_run_again_and_told_again() -> None:
    inbox.done(run_of(critical()))
    InboxMessage.objects.update(owes_receipt=False)
    assert isinstance(begin(critical(), "b", REDELIVERED, 3), NotRun)
    assert (row().state, row().owes_receipt) == ("handled", True)


def test_a_last_chance_that_did_not_begin_leaves_it_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_of(critical())
    InboxMessage.objects.update(unended_runs=2)
    die()

    @contextmanager
    def on_a_full_disk(**_: Any) -> Iterator[None]:
        with transaction.atomic():
            yield
            raise OperationalError("database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(beginning, "write_transaction", on_a_full_disk)
        with pytest.raises(OperationalError):
            begin(critical(), "b", REDELIVERED, 3)
    assert RUNS.claim_suspect("another")
    RUNS.release_suspect("another")


def test_a_run_that_lost_its_lease_changes_nothing() -> None:
    """Without the token a worker that was paused had the effect a second time."""
    paused = run_of(critical())
    InboxMessage.objects.update(due_at=utc_now())
    other = run_of(critical())
    with pytest.raises(LeaseLost), transaction.atomic():
        inbox.done(paused)
    inbox.done(other)
    assert row().state == "handled"


def test_a_run_whose_process_is_gone_is_begun_at_once_and_counted() -> None:
    run_of(critical())
    die()
    assert run_of(critical()).token == row().run_token
    assert row().unended_runs == 2


def test_after_three_deaths_it_is_parked() -> None:
    """Attempts counted after the handler never reached three."""
    for _ in range(3):
        run_of(critical())
        die()
    InboxMessage.objects.update(signal="signal 9 (SIGKILL)")
    found = begin(critical(), "b", ONLY_COPY, 3)
    assert isinstance(found, MustPark)
    assert (found.reason, found.attempts) == (DeadLetterReason.KILLED_WORKER, 3)
    assert "signal 9" in found.error


def test_a_redelivery_of_what_is_not_on_record_counts_the_death_before_it() -> None:
    run_of(critical(custodian=None), REDELIVERED)
    assert row().unended_runs == 2


def test_two_in_their_last_chance_do_not_run_beside_each_other() -> None:
    """A poison and its neighbour died together three times, and the neighbour was parked."""
    for message_id in ("m", "n"):
        for _ in range(2):
            run_of(critical(id=message_id))
            InboxMessage.objects.filter(message_id=message_id).update(
                owner=this_process().rpartition("/")[0] + "/0"
            )
    first = run_of(critical(id="m"))
    assert isinstance(begin(critical(id="n"), "b", ONLY_COPY, 3), NotRun)
    waiting = InboxMessage.objects.get(message_id="n")
    assert (waiting.state, waiting.unended_runs) == ("waiting", 2)
    RUNS.release_suspect(first.token)


def test_a_failure_waits_with_its_payload_and_comes_back_when_due() -> None:
    inbox.fail(run_of(critical(custodian=None)), tries=3, delay_seconds=60, error="no")
    assert row().envelope
    assert isinstance(begin(critical(custodian=None), "b", REDELIVERED, 3), NotRun)
    now = utc_now() + timedelta(seconds=61)
    (due,) = schedule.claim_due(now, lambda _: 0, 3)
    assert due.service == "b"
    assert run_of(critical(custodian=None)).attempts == 3


def test_a_clock_that_has_jumped_ahead_takes_nobodys_run() -> None:
    """Its own retries fall due all the same."""
    for custodian in ("a", None):  # with its payload here, and without
        run_of(critical(id=f"live-{custodian}", custodian=custodian))
    inbox.fail(run_of(critical(id="retry")), tries=1, delay_seconds=60, error="no")
    now = utc_now()
    ahead = now + timedelta(hours=1)
    due = schedule.claim_due(ahead, lambda _: 0, 3, leases_at=now)
    assert len(due) == 1
    states = InboxMessage.objects.values_list("message_id", "state")
    assert dict(states) == {"live-a": "running", "live-None": "running", "retry": "ready"}
    assert not FailedRound.objects.filter(message_id__startswith="live").exists()


def test_a_replay_reopens_what_was_parked_and_nothing_else() -> None:
    run = run_of(critical())
    with transaction.atomic():
        inbox.park(run, tries=3, error="no")
    again = run_of(critical(generation=1, custodian="api-gateway"))
    assert (again.attempts, row().generation, row().custodian) == (0, 1, "api-gateway")
    inbox.done(again)
    third = begin(critical(generation=2, custodian="api-gateway"), "b", ONLY_COPY, 3)
    assert isinstance(third, NotRun)
    assert third.answer == "handled"  # no row will tell of a generation that never ran


def test_the_first_generation_is_answered_parked_when_the_second_has_run() -> None:
    """The answer went to the gateway, and the first sender's row stayed open for ever."""
    with transaction.atomic():
        inbox.park(run_of(critical()), tries=3, error="no")
    inbox.done(run_of(critical(generation=1, custodian="api-gateway")))
    late = begin(critical(), "b", ONLY_COPY, 3)
    assert isinstance(late, NotRun)
    assert late.answer == "parked"


def test_what_is_older_than_the_memory_of_duplicates_is_parked_and_marked() -> None:
    now = utc_now()
    DedupHorizon.objects.create(service="b", source="a", purged_upto=now, custody_purged_upto=now)
    old = critical(created_at=utc_now() - timedelta(days=40))
    found = begin(old, "b", ONLY_COPY, 3)
    assert isinstance(found, MustPark)
    assert found.may_have_been_handled
    assert hot.horizon_of("b", "a", in_custody=True) == now
    assert isinstance(begin(critical(id="new"), "b", ONLY_COPY, 3), Run)


def test_in_one_database_the_outcome_settles_the_senders_row_without_a_receipt() -> None:
    envelope = critical()
    outbox.store(envelope, under_custody=True)
    inbox.done(run_of(envelope))
    sent = OutboxMessage.objects.get()
    assert (sent.state, sent.due_at, row().owes_receipt) == ("handled", None, False)


def test_in_one_database_a_late_look_finds_that_it_has_arrived() -> None:
    envelope = critical()
    key = keep(envelope)
    assert not shared.note_received(key)
    run_of(envelope)
    assert shared.note_received(key)
    assert OutboxMessage.objects.get().state == "accepted"


def test_a_receipt_before_the_mark_is_not_undone_by_it() -> None:
    key = keep(critical())
    outbox.settle(key, "handled")
    outbox.mark_published([outbox.Published(key, "", 30)])
    assert OutboxMessage.objects.get().state == "handled"


def test_a_copy_of_another_epoch_is_due_at_once() -> None:
    """Published, wiped, and marked after the switch it waited out the timer."""
    key = keep(critical())
    outbox.mark_published([outbox.Published(key, "an earlier epoch", 30)])
    sent = OutboxMessage.objects.get()
    assert sent.due_at is not None
    assert sent.due_at <= utc_now()


def test_a_process_is_dead_when_its_number_has_another_start_or_none() -> None:
    me = this_process()
    assert not is_dead(me)
    assert is_dead(me.rpartition("/")[0] + "/12345")
    assert not is_dead("elsewhere/boot/1/2")
    assert process(1).split("/")[-2] == "1"


def test_a_deployment_does_not_count_as_a_death() -> None:
    run_of(critical())
    pid = int(this_process().split("/")[-2])
    assert schedule.release([pid]) == 1
    assert (row().state, row().unended_runs) == ("ready", 0)


def test_keys_of_unknown_rows_change_nothing() -> None:
    assert not outbox.settle(Key("nobody", "b", 0), "handled")
    assert not outbox.accepted(Key("nobody", "b", 0))


def test_a_row_whose_message_only_the_broker_has_keeps_no_relay_busy() -> None:
    run_of(critical(custodian=None))
    InboxMessage.objects.update(due_at=utc_now())
    assert schedule.claim_due(utc_now(), lambda _: 0, 3) == []  # it is for whoever gets it again
    later = utc_now() + timedelta(days=8)
    assert schedule.seconds_until_due(later) is None
    assert list(retention.purge(MessagingConfig(broker_url="sqlite:////x"), later)) == [1, 1]
    assert not FailedRound.objects.exists()
    assert not InboxMessage.objects.exists()


def test_what_is_forgotten_moves_the_horizon_over_it() -> None:
    old = critical(created_at=utc_now() - timedelta(days=40), custodian=None)
    inbox.done(run_of(old))
    long_ago = utc_now() - timedelta(days=39)
    InboxMessage.objects.update(finished_at=long_ago, begun_at=long_ago)
    list(retention.purge(MessagingConfig(broker_url="sqlite:////x"), utc_now()))
    assert not InboxMessage.objects.exists()
    assert isinstance(begin(old, "b", ONLY_COPY, 3), MustPark)


def forget(envelope: Envelope, days_ago: float) -> None:
    """Have it handled so long ago, and forget what is old enough for that."""
    then = utc_now() - timedelta(days=days_ago)
    inbox.done(run_of(replace(envelope, created_at=then)))
    rows = InboxMessage.objects.filter(message_id=envelope.id)
    rows.update(finished_at=then, owes_receipt=False)
    list(retention.purge(MessagingConfig(broker_url="sqlite:////x"), utc_now()))


def test_what_is_forgotten_early_parks_nothing_that_is_remembered_longer() -> None:
    """CRITICAL that had waited for eight days was parked beside NORMAL that was forgotten."""
    normal = critical(id="normal", custodian=None, priority=MessagePriority.NORMAL)
    forget(normal, days_ago=7.5)
    assert not InboxMessage.objects.exists()
    eight_days_ago = utc_now() - timedelta(days=8)
    late = replace(normal, id="late", created_at=eight_days_ago)
    assert isinstance(begin(late, "b", ONLY_COPY, 3), MustPark)
    for kept in (
        critical(id="waited"),
        critical(id="durable", priority=MessagePriority.NORMAL),
        critical(id="sent straight", custodian=None),
    ):
        waited = replace(kept, created_at=eight_days_ago)
        assert isinstance(begin(waited, "b", ONLY_COPY, 3), Run)
    forget(critical(id="old"), days_ago=31)
    older = utc_now() - timedelta(days=32)
    assert isinstance(begin(critical(id="older", created_at=older), "b", ONLY_COPY, 3), MustPark)
    waited = critical(id="waited on", created_at=eight_days_ago)
    assert isinstance(begin(waited, "b", ONLY_COPY, 3), Run)


def test_a_late_copy_of_what_was_replayed_and_forgotten_is_parked() -> None:
    """The replay is under custody, and what it was of is not."""
    normal = critical(custodian=None, priority=MessagePriority.NORMAL)
    with transaction.atomic():
        inbox.park(run_of(normal), tries=1, error="no")
    long_ago = utc_now() - timedelta(days=31)
    inbox.done(run_of(normal.replayed_to("b", custodian="api-gateway")))
    InboxMessage.objects.update(finished_at=long_ago, created_at=long_ago, owes_receipt=False)
    list(retention.purge(MessagingConfig(broker_url="sqlite:////x"), utc_now()))
    copy = replace(normal, created_at=long_ago)
    assert isinstance(begin(copy, "b", REDELIVERED, 3), MustPark)


def test_a_replay_of_what_expired_runs() -> None:
    expired = critical(expires_at=utc_now() - timedelta(seconds=10))
    assert isinstance(begin(expired, "b", ONLY_COPY, 3), MustPark)
    assert inbox.park_unrun(expired, "b", error="too late", expired=True)
    assert row().state == "expired"
    replayed = expired.replayed_to("b", custodian="api-gateway")
    assert run_of(replayed).envelope.generation == 1


def test_a_whole_broadcast_that_was_given_up_is_replayed_as_one() -> None:
    whole = critical(kind=MessageKind.EVENT, target="")
    assert whole.replayed_to("api-gateway", custodian="api-gateway").target == ""
    ordinary = critical(kind=MessageKind.EVENT, target="", custodian=None)
    assert ordinary.replayed_to("b", custodian="api-gateway").target == "b"


def test_what_a_killed_worker_only_held_does_not_count_as_a_death() -> None:
    run_of(critical(), REDELIVERED)
    assert row().unended_runs == 1


def test_what_may_have_run_without_a_record_counts_as_one() -> None:
    run_of(critical(custodian=None, priority=MessagePriority.NORMAL), REDELIVERED)
    assert row().unended_runs == 2
