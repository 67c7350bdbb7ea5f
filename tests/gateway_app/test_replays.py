"""Dead letters: replayed, discarded, by whom, and what never happens."""

import json
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError
from django.test import Client

from gateway_app import deadletters, replays
from gateway_app.bus import communicator
from gateway_app.models import AuditRecord, DeadLetter, DeadLetterState
from messaging import MessageBus, codec, deadletter
from messaging.deadletter import DeadLetterReason
from messaging.envelope import MessageKind
from messaging.models import InboxMessage, OutboxMessage
from messaging.signing import Keyring
from tests.gateway_app.test_commands import call
from tests.unit.test_codec import an_envelope

pytestmark = pytest.mark.django_db


def park(number: int = 0, **changes: Any) -> DeadLetter:
    envelope = an_envelope(
        id=f"m{number}", kind=MessageKind.COMMAND, generation=0, target="b", reply_to=None
    )
    letter = deadletter.DeadLetter(
        message_id=envelope.id,
        service="b",
        reason=DeadLetterReason.ATTEMPTS_EXHAUSTED,
        error="it was broken",
        envelope=codec.to_mapping(envelope),
        **changes,
    )
    deadletters.park(letter)
    return DeadLetter.objects.get(message_id=envelope.id)


def test_a_replay_is_the_same_message_one_generation_later_under_custody() -> None:
    letter = park()
    assert replays.replay(letter, actor="ada")
    row = OutboxMessage.objects.get()
    assert (row.message_id, row.target, row.generation) == ("m0", "b", 1)
    assert row.under_custody
    envelope = codec.decode(row.envelope)
    assert (envelope.custodian, envelope.expires_at) == ("api-gateway", None)
    record = AuditRecord.objects.get()
    assert (record.actor, record.action, record.message_id) == ("ada", "replay", "m0")


def test_what_nobody_vouches_for_is_replayed_once_its_key_is_known_or_somebody_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver that lacked a new key parks everything; with the key it is replayed as it is."""
    keyring = Keyring.parse(f"new:{'n' * 40}", "api-gateway")
    body = codec.encode(an_envelope(source="b", kind="command", custodian=None), None, keyring)
    forged = codec.decode(body).next_attempt(1)
    for number, said in enumerate((forged, replace(forged, data="forged"))):
        letter = deadletter.DeadLetter(
            message_id=f"unproved-{number}",
            service="b",
            reason=DeadLetterReason.BAD_SIGNATURE,
            error="signed with key 'new', which is not known here",
            envelope=codec.to_mapping(said),
        )
        deadletters.park(letter)
    genuine, altered = DeadLetter.objects.order_by("pk")
    bus = communicator.bus
    monkeypatch.setattr(bus, "keyring", Keyring.parse(f"old:{'o' * 40}", "api-gateway"))
    with pytest.raises(replays.NotReplayed, match="key 'new', which is not known here; --force"):
        replays.replay(genuine, actor="ada")
    both = Keyring.parse(f"new:{'n' * 40},old:{'o' * 40}", "api-gateway")
    monkeypatch.setattr(bus, "keyring", both)
    assert replays.replay(genuine, actor="ada")
    sent = codec.decode(OutboxMessage.objects.get().envelope, both)
    assert (sent.id, sent.source, sent.custodian) == (forged.id, "b", "api-gateway")
    with pytest.raises(replays.NotReplayed, match="altered"):
        replays.replay(altered, actor="ada")
    OutboxMessage.objects.all().delete()
    assert replays.replay(altered, actor="ada", force=True)
    assert AuditRecord.objects.latest("pk").detail.endswith(", vouched for by ada")


def test_two_operators_replay_it_once() -> None:
    letter = park()
    assert replays.replay(letter, actor="ada")
    assert not replays.replay(letter, actor="grace")
    assert OutboxMessage.objects.count() == 1
    assert AuditRecord.objects.count() == 1


def test_what_was_no_message_can_only_be_discarded() -> None:
    deadletters.park(
        deadletter.DeadLetter(
            message_id="raw",
            service="b",
            reason=DeadLetterReason.INVALID,
            error="not JSON",
            raw_body=b"{",
        )
    )
    letter = DeadLetter.objects.get()
    with pytest.raises(replays.NotReplayed, match="only be discarded"):
        replays.replay(letter, actor="ada")
    assert replays.discard(letter, actor="ada", why="junk")
    assert DeadLetter.objects.get().state == DeadLetterState.DISCARDED
    assert AuditRecord.objects.get().detail == "junk"


def test_what_may_have_been_handled_needs_force() -> None:
    letter = park(may_have_been_handled=True)
    with pytest.raises(replays.NotReplayed, match="--force"):
        replays.replay(letter, actor="ada")
    assert DeadLetter.objects.get().state == DeadLetterState.PARKED
    assert replays.replay(letter, actor="ada", force=True)


def test_as_new_has_another_id_and_says_of_what() -> None:
    replays.replay(park(), actor="ada", as_new=True)
    envelope = codec.decode(OutboxMessage.objects.get().envelope)
    assert (envelope.id == "m0", envelope.generation) == (False, 0)
    assert envelope.headers["replay_of"] == "m0"


def test_a_dry_run_changes_nothing_and_lists() -> None:
    park(1)
    park(2)
    printed = call("bus_replay", "--dry-run", "--limit", "1")
    assert "m1" in printed
    assert "1 would be replayed" in printed
    assert OutboxMessage.objects.count() == AuditRecord.objects.count() == 0
    assert set(DeadLetter.objects.values_list("state", flat=True)) == {"parked"}


def test_filters_choose() -> None:
    park(1)
    park(2)
    assert call("bus_replay", "--id", "m2").strip() == "1 replayed."
    assert call("bus_replay", "--service", "another").strip() == "0 replayed."
    assert call("bus_replay", "--until", "1h").strip() == "0 replayed."
    (listed,) = json.loads(call("bus_dead_letters", "--json", "--state", "replayed"))
    assert listed["id"] == "m2"


def fail_as(state: str) -> None:
    """Have every replay fail, as its service would put it on record here."""
    for row in OutboxMessage.objects.filter(generation=1):
        InboxMessage.objects.get_or_create(
            message_id=row.message_id,
            service="b",
            defaults={
                "generation": 1,
                "created_at": row.created_at,
                "state": state,
                "due_at": row.due_at if state == "waiting" else None,
                "last_error": "as broken as before",
            },
        )


def test_a_canary_that_fails_again_stops_after_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        park(number)
    replay = replays.replay

    def replay_and_fail(*arguments: Any, **options: Any) -> bool:
        done = replay(*arguments, **options)
        fail_as("waiting")
        return done

    monkeypatch.setattr(replays, "replay", replay_and_fail)
    with pytest.raises(CommandError, match="1 of 20: m0 failed again: as broken") as caught:
        call("bus_replay", "--canary")
    assert caught.value.returncode == 1
    assert DeadLetter.objects.filter(state="parked").count() == 19


def test_the_admin_shows_actions_and_payloads_to_who_may(
    client: Client, own_broker: MessageBus
) -> None:
    letter = park()
    user = User.objects.create_user("eve", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    client.force_login(user)
    page = f"/admin/gateway_app/deadletter/{letter.pk}/change/"
    assert "get.user.details" in client.get(page).content.decode()
    assert "userId" not in client.get(page).content.decode()
    data = {"action": "replay", "_selected_action": [letter.pk]}
    client.post("/admin/gateway_app/deadletter/", data)
    assert DeadLetter.objects.get().state == DeadLetterState.PARKED

    allowed = ("operate_bus", "edit_payload")
    user.user_permissions.add(*Permission.objects.filter(codename__in=allowed))
    client.force_login(User.objects.get(pk=user.pk))
    assert "envelope" in client.get(page).content.decode().lower()
    client.post("/admin/gateway_app/deadletter/", data)
    assert DeadLetter.objects.get().state == DeadLetterState.REPLAYED
    assert AuditRecord.objects.get().actor == "eve"
