"""Messages sent with other data: what is refused, and what stays as it was."""

import json
from typing import Any

import pytest
from django.core.management import CommandError

from gateway_app.editing import InvalidEdit, NotSent, send_edited
from gateway_app.models import AuditRecord, DeadLetter, HandledType, Service
from gateway_app.replays import NotReplayed, replay
from messaging import codec
from messaging.errors import EncodeError
from messaging.models import OutboxMessage
from tests.gateway_app.deadletters.letters import park
from tests.gateway_app.test_commands import call

pytestmark = pytest.mark.django_db


@pytest.fixture
def letter() -> DeadLetter:
    """A parked message whose service has published a schema."""
    schema = {"type": "object", "properties": {"invoice": {"type": "integer"}}}
    HandledType.objects.create(
        service=Service.objects.create(name="billing"),
        type="invoice.create",
        schema_json=json.dumps(schema),
    )
    return park("m0")


def send(letter: DeadLetter, data: Any, key: str = "k") -> str:
    return send_edited(letter, data, actor="ada", key=key)


def test_it_is_a_new_message_and_the_original_stays_as_it_is(letter: DeadLetter) -> None:
    new_id = send(letter, {"invoice": 7})
    row = OutboxMessage.objects.get()
    envelope = codec.decode(row.envelope)
    assert (row.message_id, row.target, row.generation) == (new_id, "billing", 0)
    assert row.under_custody
    assert (envelope.id, envelope.data) == (new_id, {"invoice": 7})
    assert envelope.headers["replay_of"] == "m0"
    kept = DeadLetter.objects.get()
    assert (kept.state, kept.edited_as) == ("parked", new_id)
    assert kept.envelope_json == letter.envelope_json
    record = AuditRecord.objects.get()
    assert (record.action, record.message_id, record.detail) == (
        "edit",
        "m0",
        f"edited as {new_id}",
    )


def test_bad_data_is_refused_with_the_schemas_words(letter: DeadLetter) -> None:
    with pytest.raises(InvalidEdit) as caught:
        send(letter, {"invoice": "seven"})
    assert str(caught.value) == "/invoice: 'seven' is not of type 'integer'"
    assert caught.value.errors[0]["pointer"] == "/invoice"
    with pytest.raises(InvalidEdit, match="data: 7 is not of type 'object'"):
        send(letter, 7)
    assert OutboxMessage.objects.count() == AuditRecord.objects.count() == 0


def test_the_same_key_sends_it_once(letter: DeadLetter) -> None:
    assert send(letter, {"invoice": 7}) == send(letter, {"invoice": 7})
    assert OutboxMessage.objects.count() == AuditRecord.objects.count() == 1
    with pytest.raises(NotSent, match="other data"):
        send(letter, {"invoice": 8})
    assert send(letter, {"invoice": 8}, "k2") != send(letter, {"invoice": 7})


def test_what_is_not_parked_no_message_or_no_json_is_refused(letter: DeadLetter) -> None:
    with pytest.raises(EncodeError):
        send(letter, {"other": float("nan")})
    with pytest.raises(EncodeError):
        send(letter, {"other": "\ud800"})
    replay(letter, actor="ada")
    with pytest.raises(NotSent, match="not parked any more"):
        send(letter, {"invoice": 7})
    with pytest.raises(NotReplayed, match="no message"):
        send(park("raw", envelope=None), {})


def test_without_a_schema_the_service_decides() -> None:
    assert send(park("m0"), ["anything"])


def test_the_command_does_the_same(letter: DeadLetter) -> None:
    new_id = call("bus_edit", "m0", '{"invoice": 7}').strip()
    assert OutboxMessage.objects.get().message_id == new_id
    with pytest.raises(CommandError, match="is not of type"):
        call("bus_edit", "m0", '{"invoice": "x"}')
    with pytest.raises(CommandError, match="expected one parked"):
        call("bus_edit", "m1", "{}")
