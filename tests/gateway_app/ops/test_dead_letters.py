"""The Dead letters page: what its forms do, to which letters, and for whom."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway_app import replays
from gateway_app.models import (
    AuditRecord,
    DeadLetter,
    HandledType,
    ReplayRun,
    ReplayRunItem,
    Service,
)
from gateway_app.ops import dead_letter_actions, dead_letters, operations
from messaging.envelope import utc_now
from messaging.models import OutboxMessage
from tests.gateway_app.conftest import Login
from tests.gateway_app.deadletters.letters import end, park
from tests.gateway_app.test_commands import call

#: Shared reads have connections of their own, which see only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/ops/dead-letters/"
ALL = ("view_bus", "operate_bus", "edit_payload")
ACTIONS = ("canary", "replay-all", "replay", "stop", "discard", "restore", "note")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    dead_letters.changed()


def act(client: Client, action: str, group: DeadLetter, /, **form: Any) -> Any:
    values = {"group": group.fingerprint, "key": "k", **form}
    return client.post(f"{PATH}{action}/", values)


def states() -> dict[str, str]:
    return dict(DeadLetter.objects.values_list("message_id", "state"))


def said(client: Client, letter: DeadLetter, **more: str) -> str:
    """Return what the page of a letter's group says."""
    answer = client.get(PATH, {"group": letter.fingerprint, **more})
    return str(answer.content.decode())


def test_who_may_only_look_has_no_button_and_is_refused(login: Login) -> None:
    letter = park("m0")
    client = login("view_bus")
    text = said(client, letter)
    assert letter.fingerprint in text
    for name in ("dl-canary", "dl-replay-all", "dl-discard", "dl-edit", "<textarea", "Traceback"):
        assert name not in text
    for action in ACTIONS:
        assert act(client, action, letter).status_code == 403, action
    assert client.post(f"{PATH}{letter.pk}/edit/", {"data": "1"}).status_code == 403
    assert states() == {"m0": "parked"}
    assert not AuditRecord.objects.exists()


def test_who_may_operate_but_not_see_payloads_edits_nothing(login: Login) -> None:
    letter = park("m0")
    client = login("view_bus", "operate_bus")
    text = said(client, letter)
    assert "dl-canary" in text
    assert "dl-edit" not in text
    assert client.get(f"{PATH}{letter.pk}/edit/").status_code == 403


def test_a_form_that_is_sent_twice_begins_one_run_and_leads_back(login: Login) -> None:
    letter = park("m0")
    client = login(*ALL)
    for _ in range(2):
        answer = act(client, "canary", letter, back="?range=7d")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}?range=7d")
    assert ReplayRun.objects.count() == 1
    assert act(client, "canary", letter, key="").status_code == 400
    answer = act(client, "note", letter, owner="anna", back="https://elsewhere.example/")
    assert answer.headers["location"] == PATH


def test_letters_that_were_ticked_and_are_gone_do_not_stand_for_all(login: Login) -> None:
    letter = park("m0")
    park("m1")
    client = login(*ALL)
    for gone in ("999999", "nonsense", "9" * 40):
        for action in ("discard", "replay"):
            assert act(client, action, letter, letter=gone).status_code == 303
    assert set(states().values()) == {"parked"}
    assert act(client, "discard", letter).status_code == 303
    assert set(states().values()) == {"discarded"}


def test_only_letters_of_the_group_are_acted_on(login: Login) -> None:
    letter, other = park("m0"), park("x", file="mail.py")
    act(login(*ALL), "discard", letter, letter=[str(letter.pk), str(other.pk)])
    assert states() == {"m0": "discarded", "x": "parked"}


def test_a_ticked_letter_that_was_handled_meanwhile_is_not_handled_again(login: Login) -> None:
    done, letter = park("m0"), park("m1")
    end(OutboxMessage(message_id="m0", target="billing", created_at=utc_now()), "handled")
    client = login(*ALL)
    act(client, "replay", letter, letter=[str(done.pk), str(letter.pk)])
    assert states() == {"m0": "parked", "m1": "replayed"}
    assert list(OutboxMessage.objects.values_list("message_id", flat=True)) == ["m1"]
    assert "1 message replayed, 1 skipped" in said(client, letter)


def test_one_that_cannot_be_replayed_does_not_hide_what_was(login: Login) -> None:
    first, unsure, last = park("m0"), park("m1", may_have_been_handled=True), park("m2")
    client = login(*ALL)
    ticked = [str(letter.pk) for letter in (first, unsure, last)]
    assert act(client, "replay", first, letter=ticked).status_code == 303
    assert states() == {"m0": "replayed", "m1": "parked", "m2": "replayed"}
    text = said(client, first)
    assert "2 messages replayed, 1 skipped" in text
    assert "may have been handled before" in text


def test_the_dialog_names_as_many_as_the_run_takes(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = park("m0")
    for number in range(1, 4):
        park(f"m{number}", at=utc_now() - timedelta(days=3))
    client = login(*ALL)
    assert "Replay 4 messages?" in said(client, letter)
    monkeypatch.setattr(dead_letters, "TYPED_ABOVE", 3)
    for typed, named in (("", "4"), ("1", "4"), ("3", "3"), ("4", "")):
        answer = act(client, "replay-all", letter, rate="5", confirm=typed, named=named)
        assert answer.status_code == 400
        assert "type the number of messages, 4" in answer.content.decode()
    park("m4")  # while the number was being typed
    act(client, "replay-all", letter, rate="5", confirm="4", named="4")
    assert ReplayRun.objects.get().total == 5


@pytest.mark.parametrize("rate", ["", "0", "-1", "1.5", "1001", "9" * 30])
def test_a_rate_that_makes_no_sense_is_refused_in_words(rate: str, login: Login) -> None:
    letter = park("m0")
    answer = act(login(*ALL), "replay-all", letter, rate=rate)
    assert answer.status_code == 400
    assert "rate" in answer.content.decode()
    assert not ReplayRun.objects.exists()


def test_undo_restores_what_its_discard_discarded_and_nothing_else(login: Login) -> None:
    before, mine, later = park("m0"), park("m1"), park("m2")
    replays.discard(before, actor="sam")
    client = login(*ALL)
    act(client, "discard", mine, letter=str(mine.pk))
    shown = client.get(PATH).context["messages"]
    (undo,) = [undo_in(message) for message in shown]
    replays.discard(later, actor="sam")
    act(client, "restore", mine, **undo)
    assert states() == {"m0": "discarded", "m1": "parked", "m2": "discarded"}


def test_undo_finds_what_it_undoes_among_more_than_it_restores_at_once(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_actions, "MOST_AT_ONCE", 1)
    letter = park("m0")
    park("m1")
    client = login(*ALL)
    act(client, "discard", letter)
    client.get(PATH)
    act(client, "discard", letter)
    (undo,) = [undo_in(message) for message in client.get(PATH).context["messages"]]
    act(client, "restore", letter, **undo)
    assert states() == {"m0": "discarded", "m1": "parked"}
    assert act(client, "restore", letter, since="yesterday").status_code == 400


def undo_in(message: Any) -> dict[str, str]:
    return dead_letter_actions.undo_of(message.extra_tags) or {}


def test_stop_of_what_is_no_run(login: Login) -> None:
    letter = park("m0")
    client = login(*ALL)
    assert act(client, "stop", letter, run="x").status_code == 400
    assert act(client, "stop", letter, run="9" * 40).status_code == 400
    assert act(client, "stop", letter, run="12").status_code == 404


def test_what_was_typed_stays_where_it_is_refused(login: Login) -> None:
    letter = park("m0")
    service = Service.objects.create(name="billing")
    schema = '{"type": "object", "properties": {"invoice": {"type": "integer"}}}'
    HandledType.objects.create(service=service, type="invoice.create", schema_json=schema)
    client = login(*ALL)
    for typed, word in (
        ("{not json", "no JSON"),
        ('{"invoice": "x&lt;"}', "/invoice"),
        ("[" * 100_000, "no JSON"),
    ):
        answer = client.post(f"{PATH}{letter.pk}/edit/", {"data": typed, "key": "k"})
        assert answer.status_code == 422
        assert word in answer.content.decode()
        assert answer.context["text"] == typed
    assert not OutboxMessage.objects.exists()
    answer = client.post(f"{PATH}{letter.pk}/edit/", {"data": '{"invoice": 2}', "key": "k"})
    assert answer.status_code == 303
    assert OutboxMessage.objects.get().message_id in answer.headers["location"]
    assert states() == {"m0": "parked"}


def test_each_dialog_is_a_form_of_its_own(login: Login) -> None:
    """Enter in a field presses the first button of its form: once, a note began a canary."""
    text = said(login(*ALL), park("m0"))
    for field, action in (('name="owner"', "note"), ('name="rate"', "replay-all")):
        at = text.index(field)
        form = text[text.rindex("<form", 0, at) : at]
        assert f'action="{PATH}{action}/"' in form
        assert "<button" not in form


def test_a_page_with_all_there_is_asks_the_database_less_than_twelve_times(login: Login) -> None:
    letters = [park(f"m{number}") for number in range(40)]
    client = login(*ALL)
    act(client, "canary", letters[0])
    run = ReplayRun.objects.get()
    ReplayRunItem.objects.filter(run=run).update(outcome="handled")
    act(client, "note", letters[0], owner="anna", note="fixed in 2.3.2")
    said(client, letters[0])
    with CaptureQueriesContext(connection) as queries:
        text = said(client, letters[0])
    assert "fixed in 2.3.2" in text
    assert len(queries) < 12, "\n".join(query["sql"][-160:] for query in queries)


def test_an_address_that_makes_no_sense_is_refused(login: Login) -> None:
    letter = park("m0")
    client = login("view_bus")
    for query in ("state=lost", "after=x", "range=1h"):
        answer = client.get(f"{PATH}?group={letter.fingerprint}&{query}")
        assert answer.status_code == 400, query


def test_what_was_done_to_many_at_once_is_one_line(login: Login) -> None:
    letters = [park(f"m{number}") for number in range(3)]
    client = login(*ALL)
    act(client, "discard", letters[0])
    act(client, "restore", letters[0])
    act(client, "canary", letters[0])
    found = operations.last(8, utc_now())
    assert [(each.action, each.words) for each in found] == [
        ("canary", f"began a canary, replay run {ReplayRun.objects.get().pk}: 3 at 3/s"),
        ("restore", "restored 3 messages"),
        ("discard", "discarded 3 messages"),
    ]
    assert "anna discarded 3 messages" in said(client, letters[0])


@pytest.mark.parametrize("state", ["parked", "replayed", "discarded"])
def test_the_command_that_is_shown_does_the_same(state: str, login: Login) -> None:
    letter = park("m0")
    DeadLetter.objects.update(state=state)
    text = said(login(*ALL), letter, state=state)
    (shown,) = re.findall(r'data-testid="dl-command">manage.py ([^<]+)<', text)
    printed = call(*shown.split())
    if state == "parked":
        assert ReplayRun.objects.get().fingerprint == letter.fingerprint
    elif state == "discarded":
        assert states() == {"m0": "parked"}
    else:
        assert "m0" in printed


def test_of_a_run_that_was_stopped_no_letter_is_next(login: Login) -> None:
    letter = park("m0")
    client = login(*ALL)
    act(client, "replay-all", letter, rate="1")
    assert '"dl-outcome">next<' in said(client, letter)
    act(client, "stop", letter, run=ReplayRun.objects.get().pk)
    assert '"dl-outcome">parked<' in said(client, letter)
