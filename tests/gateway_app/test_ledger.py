"""The balance, and the story of one message."""

import json

import pytest
from django.core.management import CommandError
from django.db import IntegrityError, transaction
from django.db.models import Q

from gateway_app import ledger
from messaging import MessagePriority
from messaging.custody import operating, outbox
from messaging.custody.arrival import ONLY_COPY
from messaging.custody.begin import begin
from messaging.custody.inbox import Run, done, fail
from messaging.custody.outbox import Key
from messaging.envelope import Envelope, MessageKind, utc_now
from messaging.models import DedupHorizon, InboxMessage, OutboxMessage
from tests.gateway_app.test_commands import call
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db


def sent(number: int = 0) -> Envelope:
    envelope = an_envelope(
        id=f"m{number}",
        kind=MessageKind.COMMAND,
        priority=MessagePriority.CRITICAL,
        generation=0,
        target="b",
        reply_to=None,
        expires_at=None,
        created_at=utc_now(),
        custodian="a",
    )
    outbox.store(envelope, under_custody=True)
    return envelope


def key(envelope: Envelope) -> Key:
    return Key(envelope.id, "b", 0)


def begun(envelope: Envelope) -> Run:
    run = begin(envelope, "b", ONLY_COPY, 3)
    assert isinstance(run, Run)
    return run


def test_every_message_is_in_one_place_and_the_sum_is_right() -> None:
    for number in range(5):
        sent(number)
    done(begun(sent(5)))
    operating.resolve(Q(message_id=sent(6).id), "no longer wanted")
    counts = ledger.account().counts
    assert counts == {
        "accepted": 7,
        "handled": 1,
        "parked": 0,
        "expired": 0,
        "resolved": 1,
        "in_flight": 5,
        "unaccounted": 0,
    }
    assert counts["accepted"] == sum(counts.values()) - counts["accepted"]


def test_what_its_receiver_has_lost_is_found_named_and_sent_again() -> None:
    done(begun(sent(1)))
    outbox.accepted(key(sent(2)))
    with pytest.raises(CommandError, match="1 messages are unaccounted for") as caught:
        call("bus_account")
    assert caught.value.returncode == 1
    account = ledger.account()
    assert (account.unaccounted, account.counts["accepted"]) == (1, 2)
    assert [entry["id"] for entry in account.messages] == ["m2"]
    printed = json.loads(call("bus_account", "--reopen", "--json"))
    assert (printed["unaccounted"], printed["in_flight"]) == (0, 1)


def test_what_its_receiver_may_have_forgotten_is_not_lost() -> None:
    """It forgets sooner what is not under custody: that excuses nothing."""
    done(begun(sent(1)))
    lost = sent(2)
    outbox.accepted(key(lost))
    DedupHorizon.objects.create(service="b", source=lost.source, purged_upto=utc_now())
    assert ledger.account().unaccounted == 1
    DedupHorizon.objects.update(custody_purged_upto=utc_now())
    assert ledger.account().unaccounted == 0


def test_parked_without_a_dead_letter_is_unaccounted_for() -> None:
    done(begun(sent(1)))  # so b's database is this one
    outbox.settle(key(sent()), "parked")
    account = ledger.account()
    assert (account.unaccounted, account.counts["parked"]) == (1, 0)


def test_a_row_that_nobody_would_look_at_again_cannot_be_stored() -> None:
    sent()
    with pytest.raises(IntegrityError), transaction.atomic():
        OutboxMessage.objects.update(due_at=None)
    begun(sent(1))
    with pytest.raises(IntegrityError), transaction.atomic():
        InboxMessage.objects.update(state="handled")


def test_a_story_names_the_error_and_the_next_step() -> None:
    envelope = sent()
    fail(begun(envelope), tries=3, delay_seconds=60, error="ValueError('no')")
    printed = call("bus_explain", "m0")
    assert "a sent CRITICAL command" in printed
    assert "3 attempts failed, the last with ValueError('no')" in printed
    assert "Next: none: b tries again by itself." in printed


def test_of_what_is_not_known_it_says_so() -> None:
    with pytest.raises(CommandError, match="knows nothing of nobody"):
        call("bus_explain", "nobody")
