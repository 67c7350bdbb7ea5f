"""Groups of dead letters: what they count, who owns them, and what that costs."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from gateway_app import deadletter_groups, deadletters, replays
from gateway_app.deadletter_groups import NoSuchGroup, annotate, counts, groups, letters_of
from gateway_app.models import AuditRecord, DeadLetter, DeadLetterState
from messaging.deadletter import DeadLetterReason
from tests.gateway_app.deadletters.letters import park
from tests.gateway_app.test_commands import call

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
PARKED = DeadLetterState.PARKED


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def test_a_group_says_how_many_since_when_of_what_versions() -> None:
    park("a", at=ago(3.5))
    gone = park("b", at=ago(1.5), line=90, service_version="2.3.2")
    park("c", at=ago(0.5), error="KeyError: 'rate'")
    park("other", at=ago(2), file="mail.py")
    replays.discard(gone, actor="ada")
    newest, older = groups(PARKED, ago(4), now=NOW, bins=4)
    assert (newest.parked, newest.total, newest.count) == (2, 3, 2)
    assert (newest.first_parked_at, newest.last_parked_at) == (ago(3.5), ago(0.5))
    assert newest.versions == ("2.3.1", "2.3.2")
    assert newest.trend == (1, 0, 1, 1)
    assert (newest.title, newest.frame) == ("KeyError: 'rate'", "billing/tax.py in apply_vat")
    assert (newest.service, newest.type, newest.reason, newest.priority) == (
        *("billing", "invoice.create", "attempts_exhausted"),
        "HIGH",
    )
    assert (older.total, older.trend) == (1, (0, 0, 1, 0))
    assert deadletter_groups.one_group(newest.fingerprint, ago(1), now=NOW, bins=1) is not None
    assert deadletter_groups.one_group("none") is None


def test_state_service_and_range_choose_groups() -> None:
    discarded = park("a", at=ago(1))
    park("b", at=ago(9), service="shipping")
    replays.discard(discarded, actor="ada")
    assert [group.service for group in groups(PARKED)] == ["shipping"]
    assert [group.service for group in groups(DeadLetterState.DISCARDED)] == ["billing"]
    assert [group.service for group in groups()] == ["billing", "shipping"]
    assert groups(service="shipping", since=ago(8)) == []
    assert len(groups(most=1)) == 1
    assert counts() == {"parked": 1, "replayed": 0, "discarded": 1}


def test_what_was_no_message_has_a_group_as_well() -> None:
    park("raw", envelope=None, traceback="", error="not JSON", reason=DeadLetterReason.INVALID)
    (group,) = groups()
    assert (group.type, group.title, group.frame) == ("", "not JSON", "")


def test_more_letters_cost_no_more_queries(
    django_assert_max_num_queries: Callable[..., Any],
) -> None:
    for number in range(40):
        park(f"m{number}", file=f"f{number % 20}.py")
    with django_assert_max_num_queries(5):
        found = groups(PARKED)
    assert (len(found), sum(group.parked for group in found)) == (20, 40)


def test_letters_of_a_group_come_in_pages_oldest_first() -> None:
    for number in range(5):
        park(f"m{number}")
    park("other", file="mail.py")
    name = DeadLetter.objects.get(message_id="m0").fingerprint
    first = letters_of(name, state=PARKED, most=3)
    assert [letter.message_id for letter in first.letters] == ["m0", "m1", "m2"]
    second = letters_of(name, state=PARKED, most=3, after=first.after or 0)
    assert ([letter.message_id for letter in second.letters], second.after) == (["m3", "m4"], None)


def test_owner_and_note_are_on_record_once() -> None:
    name = park("a").fingerprint
    assert annotate(name, owner="anna", note="no VAT row\x00\ud800", actor="ada")
    assert not annotate(name, owner="anna", actor="ada")
    assert annotate(name, owner="", actor="ada")
    (group,) = groups()
    assert (group.owner, group.note) == ("", "no VAT row\\x00\\ud800")
    assert list(AuditRecord.objects.values_list("action", flat=True)) == ["note", "note"]
    with pytest.raises(NoSuchGroup):
        annotate("0" * 16, owner="anna", actor="ada")
    with pytest.raises(ValueError, match="note: expected at most"):
        annotate(name, note="x" * 5000, actor="ada")


def test_the_command_lists_the_groups_and_their_sums_are_the_letters() -> None:
    park("a")
    park("b", file="mail.py")
    replays.discard(park("c"), actor="ada")
    name = DeadLetter.objects.get(message_id="a").fingerprint
    call("bus_note", name, "--owner", "anna")
    listed = json.loads(call("bus_dead_letters", "--groups", "--json", "--state", "parked"))
    letters = json.loads(call("bus_dead_letters", "--json", "--state", "parked"))
    assert sum(group["count"] for group in listed) == len(letters) == 2
    assert {group["fingerprint"]: group["owner"] for group in listed}[name] == "anna"
    of_one = json.loads(call("bus_dead_letters", "--json", "--fingerprint", name))
    assert [letter["id"] for letter in of_one] == ["a", "c"]
    assert name in call("bus_dead_letters", "--groups")
    with pytest.raises(CommandError, match="no dead letter has"):
        call("bus_note", "none", "--owner", "anna")


def test_what_was_discarded_can_be_restored_until_it_is_swept() -> None:
    letter, other = park("a"), park("b")
    assert not replays.restore(letter, actor="ada")
    assert call("bus_discard", "--id", "a", "--why", "junk") == "1 discarded.\n"
    deadletters.sweep(letter.parked_at + timedelta(days=6))
    assert replays.restore(letter, actor="ada")
    assert not replays.restore(letter, actor="grace")
    letter.refresh_from_db()
    assert letter.state == PARKED
    assert replays.discard(letter, actor="ada")
    assert call("bus_discard", "--id", "a", "--undo") == "1 restored.\n"
    assert list(AuditRecord.objects.order_by("pk").values_list("action", flat=True)) == [
        *("discard", "restore", "discard", "restore")
    ]
    replays.discard(letter, actor="ada")
    deadletters.sweep(letter.parked_at + timedelta(days=8))
    assert list(DeadLetter.objects.values_list("pk", flat=True)) == [other.pk]
    assert not replays.restore(letter, actor="ada")
    with pytest.raises(CommandError, match="expected a filter"):
        call("bus_discard")
