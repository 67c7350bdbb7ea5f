"""Sending a dead letter's message with other data. The original stays as it is, and parked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from django.db import transaction

from gateway_app import audit
from gateway_app.bus import communicator
from gateway_app.http.problem import Problem
from gateway_app.http.schemas import Schema
from gateway_app.models import DeadLetter, DeadLetterState, HandledType
from gateway_app.replays import REPLAY_OF_HEADER, NotReplayed, envelope_of
from messaging import codec
from messaging.compose import id_of
from messaging.custody import outbox
from messaging.envelope import Envelope, utc_now

KEY_LENGTH: Final = 100


class NotSent(NotReplayed):
    """Nothing was sent and nothing was changed; the text says why."""


class InvalidEdit(NotSent):
    """The data is not what the service takes, by the schema it has published.

    Attributes:
        errors: ``{"pointer": where, "detail": what is wrong}``, in the schema's words.
    """

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        super().__init__(
            "\n".join(f"{error['pointer'] or 'data'}: {error['detail']}" for error in errors)
        )
        self.errors = errors


def schema_of(letter: DeadLetter) -> str:
    """Return the JSON Schema of a letter's data as text; empty: its service published none."""
    found = HandledType.objects.filter(service__name=letter.service, type=letter.type)
    return found.values_list("schema_json", flat=True).first() or ""


def check(letter: DeadLetter, data: Any) -> None:
    """Make sure that a letter's service takes this data, as far as its schema tells.

    Raises:
        InvalidEdit: it does not.
    """
    text = schema_of(letter)
    if not text:
        return
    try:
        Schema(text).check(data)
    except Problem as exc:
        raise InvalidEdit(exc.members["errors"]) from exc


def send_edited(letter: DeadLetter, data: Any, *, actor: str, key: str) -> str:
    """Send a letter's message with other data, as a new message; return its id.

    It goes to the service that gave the original up, under the gateway's custody, and says in
    ``replay_of`` what it is instead of. The letter stays parked, with what it said; replay runs
    and `bus_replay` leave it out from now on. Safe to repeat: the same key sends it once.

    Args:
        letter: a row; how it looks in the database now is what counts.
        data: the payload, any JSON value.
        actor: who wants it.
        key: chosen by whoever calls, new for each edit.

    Raises:
        InvalidEdit: the schema refuses the data.
        NotSent: the letter is not parked any more; the key stands for other data.
        NotReplayed: the letter was no message.
        EncodeError, MessageTooLarge: the data cannot be sent.
        ValueError: the key is not valid.
    """
    if not 0 < len(key) <= KEY_LENGTH:
        raise ValueError(f"key: expected 1 to {KEY_LENGTH} characters, got {len(key)}")
    original = envelope_of(letter, vouched_for=True)
    check(letter, data)
    edited = _with(original, letter, data, id_of(communicator.name, f"edit/{letter.pk}/{key}"))
    body = codec.encode(edited, communicator.bus.config.max_message_bytes)
    with transaction.atomic():
        row = DeadLetter.objects.select_for_update().filter(pk=letter.pk).first()
        sent = outbox.find(edited.id)
        if sent is not None:
            if sent.body and codec.decode(sent.body).data != codec.decode(body).data:
                raise NotSent(f"the key {key!r} stands for an edit with other data")
            return edited.id
        if row is None or row.state != DeadLetterState.PARKED:
            raise NotSent(f"{letter.message_id} is not parked any more")
        DeadLetter.objects.filter(pk=row.pk).update(edited_as=edited.id)
        communicator.bus.dispatch.send(edited, delay=None, may_repeat=True)
        audit.record(
            "edit",
            actor=actor,
            service=letter.service,
            message_id=letter.message_id,
            detail=f"edited as {edited.id}",
        )
    return edited.id


def _with(original: Envelope, letter: DeadLetter, data: Any, message_id: str) -> Envelope:
    return replace(
        original.replayed_to(letter.service, custodian=communicator.name),
        id=message_id,
        generation=0,
        data=data,
        created_at=utc_now(),
        headers={**original.headers, REPLAY_OF_HEADER: original.id},
    )
