"""What operators do with a dead letter: replay, discard, restore. One transaction, on record."""

from dataclasses import replace
from typing import Final

from django.db import transaction

from gateway_app import audit
from gateway_app.bus import communicator
from gateway_app.models import DeadLetter, DeadLetterState
from messaging import MessagingError, codec
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope, new_message_id, utc_now
from messaging.errors import BadSignature, DecodeError

#: Header of a message that was sent as a new one to run an old one again.
REPLAY_OF_HEADER: Final = "replay_of"


class NotReplayed(MessagingError):
    """A dead letter cannot be replayed. Nothing was changed; the text says what would help."""


def replay(letter: DeadLetter, *, actor: str, force: bool = False, as_new: bool = False) -> bool:
    """``parked --> replayed``: have the service handle the message again.

    The message keeps its id, with one generation more, and is under the gateway's custody: its
    service runs it although it is on record there, and if it is given up again there is a new
    dead letter. Idempotent: two operators replay it once.

    Args:
        letter: a row; how it looks in the database now is what counts.
        actor: who wants it.
        force: also if it may have been handled before, or nobody can tell who said it: the
            operator vouches for it.
        as_new: under a new id, also where the message was handled meanwhile.

    Returns:
        Whether it was parked until now.

    Raises:
        NotReplayed: it is no message, or needs force.
    """
    envelope = envelope_of(letter, vouched_for=force)
    if letter.may_have_been_handled and not force:
        raise NotReplayed(
            f"{letter.message_id} may have been handled before; --force replays it all the same"
        )
    again = envelope.replayed_to(letter.service, custodian=communicator.name)
    if as_new:
        headers = {**envelope.headers, REPLAY_OF_HEADER: envelope.id}
        again = replace(
            again, id=new_message_id(), generation=0, headers=headers, created_at=utc_now()
        )
    detail = f"as {again.id}"
    if letter.reason == DeadLetterReason.BAD_SIGNATURE and force:
        detail += f", vouched for by {actor}"
    with transaction.atomic():
        if not _move(letter, DeadLetterState.REPLAYED, actor, "replay", detail):
            return False
        communicator.bus.dispatch.send(again, delay=None, may_repeat=True)
    return True


def discard(letter: DeadLetter, *, actor: str, why: str = "") -> bool:
    """``parked --> discarded``. Return whether it was parked until now."""
    with transaction.atomic():
        return _move(letter, DeadLetterState.DISCARDED, actor, "discard", why)


def restore(letter: DeadLetter, *, actor: str) -> bool:
    """``discarded --> parked``: as if it had not been discarded. Safe to repeat.

    Returns:
        Whether it was discarded until now. False also where it is gone: what was discarded is
        removed after ``retention_days``.
    """
    with transaction.atomic():
        return _move(
            letter, DeadLetterState.PARKED, actor, "restore", "", of=DeadLetterState.DISCARDED
        )


def _move(
    letter: DeadLetter,
    state: DeadLetterState,
    actor: str,
    action: str,
    detail: str,
    *,
    of: DeadLetterState = DeadLetterState.PARKED,
) -> bool:
    if not DeadLetter.objects.filter(pk=letter.pk, state=of).update(
        state=state, moved_at=utc_now()
    ):
        return False
    audit.record(
        action,
        actor=actor,
        service=letter.service,
        message_id=letter.message_id,
        detail=detail,
    )
    return True


def envelope_of(letter: DeadLetter, *, vouched_for: bool) -> Envelope:
    """Return the message that was given up.

    Args:
        letter: a row.
        vouched_for: whether an operator answers for who said it, whatever its signature.

    Raises:
        NotReplayed: it was none, or is not known to be of who it says. With a key that was missing
            it may be.
    """
    if letter.envelope is None:
        raise NotReplayed(f"{letter.message_id} was no message; it can only be discarded")
    try:
        envelope = codec.from_mapping(letter.envelope)
    except DecodeError as exc:
        raise NotReplayed(f"{letter.message_id}: {exc}; it can only be discarded") from exc
    keyring = communicator.bus.keyring
    is_doubted = letter.reason == DeadLetterReason.BAD_SIGNATURE and keyring.has_keys
    if is_doubted and not vouched_for:
        try:
            keyring.check_message(envelope, letter.envelope)
        except BadSignature as exc:
            raise NotReplayed(
                f"{letter.message_id}: {exc}; --force replays it all the same"
            ) from exc
    return envelope
