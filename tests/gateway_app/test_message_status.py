"""How far a message is, in each state it can be in."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from gateway_app import deadletters, replays
from gateway_app.message_status import status_of
from gateway_app.models import DeadLetter
from messaging import codec, deadletter
from messaging.custody import inbox, operating, outbox
from messaging.custody.arrival import ONLY_COPY
from messaging.custody.begin import begin
from messaging.custody.inbox import Run
from messaging.custody.outbox import Key, Published
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope, MessageKind, MessagePriority, utc_now
from messaging.models import InboxMessage, OutboxMessage
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db

SECRET = "of nobody's concern"
KEY = Key("m", "b", 0)


def a_message(**changes: Any) -> Envelope:
    values = {
        "id": "m",
        "kind": MessageKind.COMMAND,
        "priority": MessagePriority.NORMAL,
        "generation": 0,
        "source": "api-gateway",
        "target": "b",
        "data": SECRET,
        "reply_to": None,
        "expires_at": None,
        "created_at": utc_now(),
        "custodian": "api-gateway",
    }
    return an_envelope(**{**values, **changes})


def sent(**changes: Any) -> Envelope:
    envelope = a_message(**changes)
    outbox.store(envelope, under_custody=True)
    return envelope


def begun(envelope: Envelope, service: str = "b") -> Run:
    run = begin(envelope, service, ONLY_COPY, 3)
    assert isinstance(run, Run)
    return run


def park(envelope: Envelope, reason: DeadLetterReason, service: str = "b") -> None:
    letter = deadletter.DeadLetter(
        message_id=envelope.id,
        service=service,
        reason=reason,
        error=f"ValueError({SECRET!r})",
        attempts=6,
        envelope=codec.to_mapping(envelope),
    )
    deadletters.park(letter)


def status(message_id: str = "m") -> dict[str, Any]:
    with CaptureQueriesContext(connection) as queries:
        found = status_of(message_id)
    assert found is not None
    assert len(queries) <= 4
    assert SECRET not in json.dumps(found)
    return found


def standing() -> tuple[str, str | None, str]:
    found = status()
    assert bool(found["settled_at"]) == (
        found["state"] in ("handled", "parked", "expired", "resolved")
    )
    return found["state"], found["reason"], found["detail"]


def test_of_what_is_not_known_there_is_no_status() -> None:
    assert status_of("m") is None


def test_it_says_what_it_is_about() -> None:
    sent()
    found = status()
    row = OutboxMessage.objects.get()
    assert found == {
        "id": "m",
        "type": row.type,
        "source": "api-gateway",
        "target": "b",
        "priority": "NORMAL",
        "created_at": row.created_at.isoformat(),
        "settled_at": None,
        "state": "accepted",
        "reason": None,
        "detail": "waits to be published",
    }


def test_a_messages_way_from_its_sender_to_its_end() -> None:
    outbox.store(a_message(), under_custody=True, held=True, delay_seconds=600)
    state, _, detail = standing()
    assert (state, detail[:10], detail[-9:]) == ("accepted", "held since", "b is down")
    outbox.mark_published([Published(KEY, "", 30)])
    assert standing()[0] == "published"
    outbox.accepted(KEY)
    assert standing() == ("received", None, "b has it")
    outbox.settle(KEY, "handled")
    assert standing() == ("handled", None, "")


def test_what_the_receivers_row_says_counts_before_the_receipt() -> None:
    envelope = sent(custodian="elsewhere")
    run = begun(envelope)
    assert standing() == ("received", None, "being handled")
    inbox.fail(run, tries=3, delay_seconds=60, error=SECRET)
    state, _, detail = standing()
    assert (state, detail[:24]) == ("received", "3 attempts failed, again")
    OutboxMessage.objects.all().delete()  # as where it went straight to the broker
    assert standing()[:2] == ("received", None)
    InboxMessage.objects.update(state="ready")
    inbox.done(begun(envelope))
    assert standing() == ("handled", None, "")


def test_what_was_given_up_says_why_but_not_what_it_was_about() -> None:
    envelope = sent()
    run = begun(envelope)
    inbox.park(run, tries=6, error=SECRET)
    assert standing() == ("parked", None, "given up")
    park(envelope, DeadLetterReason.ATTEMPTS_EXHAUSTED)
    wanted = ("parked", "attempts_exhausted", "given up after 6 attempts")
    assert standing() == wanted
    InboxMessage.objects.all().delete()
    assert standing() == wanted
    OutboxMessage.objects.all().delete()  # only its letter is left
    assert standing() == wanted
    assert status()["created_at"] == envelope.created_at.isoformat()
    replays.discard(DeadLetter.objects.get(), actor="ada")
    assert standing()[2] == "given up after 6 attempts, discarded"


def test_a_replay_is_under_way_again() -> None:
    envelope = sent()
    inbox.park(begun(envelope), tries=1, error="no")
    park(envelope, DeadLetterReason.REJECTED)
    replays.replay(DeadLetter.objects.get(), actor="ada")
    assert standing() == ("accepted", None, "waits to be published")
    again = codec.decode(OutboxMessage.objects.get(generation=1).envelope)
    inbox.done(begun(again))
    assert standing() == ("handled", None, "")


def test_too_late_is_expired() -> None:
    envelope = sent(expires_at=utc_now() - timedelta(seconds=60))
    outbox.settle(KEY, "expired")
    assert standing() == ("expired", None, "not handled in time")
    OutboxMessage.objects.all().delete()
    park(envelope, DeadLetterReason.EXPIRED)
    assert standing()[:2] == ("expired", "expired")


def test_what_an_operator_sent_elsewhere_is_as_far_as_there() -> None:
    envelope = sent(target="old")
    operating.resolve(Q(target="old"), SECRET)
    assert standing() == ("resolved", None, "ended by an operator")
    outbox.store(envelope.for_subscriber("new", "api-gateway"), under_custody=True)
    assert standing()[0] == "accepted"
    assert status()["target"] == "new"


def test_a_broadcast_is_as_far_as_the_last_of_its_copies() -> None:
    event = a_message(kind=MessageKind.EVENT, target="", source="a")
    outbox.store(event, to="api-gateway", under_custody=True)
    found = status()
    assert (found["state"], found["target"], found["copies"]) == ("accepted", None, [])
    outbox.settle(Key("m", "api-gateway", 0), "handled")
    assert (status()["state"], status()["detail"]) == ("handled", "no service had subscribed")
    for service in ("b", "c", "d"):
        outbox.store(event.for_subscriber(service, "api-gateway"), under_custody=True)
    outbox.settle(Key("m", "b", 0), "handled")
    outbox.mark_published([Published(Key("m", "c", 0), "", 30)])
    found = status()
    assert (found["state"], found["settled_at"]) == ("accepted", None)
    assert found["detail"] == "1 of 3 copies handled"
    assert {copy["target"]: copy["state"] for copy in found["copies"]} == {
        "b": "handled",
        "c": "published",
        "d": "accepted",
    }
    outbox.settle(Key("m", "c", 0), "parked")
    outbox.settle(Key("m", "d", 0), "handled")
    found = status()
    assert (found["state"], found["detail"]) == ("parked", "2 of 3 copies handled")
    assert found["settled_at"] is not None
