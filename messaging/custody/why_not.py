"""What becomes of a delivery that is not run: somebody else answers for it, or it is parked."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from messaging import codec
from messaging.custody import failed_rounds, outbox
from messaging.custody.outbox import Key
from messaging.custody.owner import is_dead
from messaging.custody.runs import LEASES
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope, utc_now
from messaging.models import UNENDED, InboxMessage, InboxState

#: Clocks of sender and receiver may differ by so much before a message counts as expired.
EXPIRY_ALLOWANCE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """Why a delivery is not handed to a handler. Its broker message may go."""

    #: Text for people.
    why: str
    #: An outcome to tell the delivery's custodian, where no row will; empty: none.
    answer: str = ""
    #: Whether it is another copy of what has come to its end.
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MustPark:
    """A delivery that is given up without a run. Park it before its broker message goes."""

    reason: DeadLetterReason
    #: Text for people.
    error: str
    attempts: int = 0
    #: Whether nobody can tell that it was not handled before.
    may_have_been_handled: bool = False


def why_not(envelope: Envelope, service: str, max_deaths: int) -> NotRun | MustPark | None:
    """Say why a message was not begun, and see that somebody answers for it; None: try again."""
    row = InboxMessage.objects.filter(message_id=envelope.id, service=service).first()
    expired = MustPark(reason=DeadLetterReason.EXPIRED, error=f"expired at {envelope.expires_at}")
    if row is None:
        if is_expired(envelope):
            return expired
        text = "older than the memory of duplicates: it may have been handled before"
        return MustPark(reason=DeadLetterReason.EXPIRED, error=text, may_have_been_handled=True)
    if row.generation != envelope.generation or row.state not in UNENDED:
        return _answer_or_reopen(row, envelope)
    if row.state == InboxState.RUNNING and (_is_over(row) or is_dead(row.owner)):
        failed_rounds.note_deaths([row], max_deaths)
        InboxMessage.objects.filter(pk=row.pk, run_token=row.run_token).update(
            state=InboxState.READY, run_token="", due_at=utc_now()
        )
        return None
    if row.state == InboxState.READY:
        if row.unended_runs >= max_deaths:
            killer = f" by {row.signal}" if row.signal else ""
            text = f"its process died{killer} in {row.unended_runs} runs, last {row.owner}"
            return MustPark(
                reason=DeadLetterReason.KILLED_WORKER, error=text, attempts=row.unended_runs
            )
        return expired if is_expired(envelope) else None
    # Running elsewhere, or waiting for its retry: from now on the row alone answers for it.
    changes: dict[str, Any] = {"owes_receipt": bool(envelope.custodian)}
    if not row.envelope:
        changes["envelope"] = codec.encode(envelope, None)
    InboxMessage.objects.filter(pk=row.pk).update(**changes)
    return NotRun(why=f"{row.state} already")


def _answer_or_reopen(row: InboxMessage, envelope: Envelope) -> NotRun | None:
    """Answer a copy by what became of the message, or run a replay of one that was given up.

    Silence would make the sender repeat for ever.
    """
    if row.generation < envelope.generation:
        if row.state in UNENDED:
            return NotRun(why="an earlier generation is still open")
        if row.state in (InboxState.PARKED, InboxState.EXPIRED):
            _reopen(row, envelope)  # neither has had an effect
            return None
    # Only what was given up is ever reopened, so that was the outcome of an earlier generation.
    outcome = row.state if row.generation <= envelope.generation else InboxState.PARKED.value
    why = f"{outcome} already"
    if not envelope.custodian:
        return NotRun(why=why, is_over=True)
    key = Key(envelope.id, row.service, envelope.generation)
    if outbox.settle(key, outcome, row.last_error):
        return NotRun(why=why)
    if row.generation == envelope.generation and row.custodian == envelope.custodian:
        InboxMessage.objects.filter(pk=row.pk).update(owes_receipt=True)
        return NotRun(why=why)
    return NotRun(why=why, answer=outcome)


def _reopen(row: InboxMessage, envelope: Envelope) -> None:
    """``parked | expired --> ready``, under the replay's generation and custodian."""
    InboxMessage.objects.filter(pk=row.pk).update(
        state=InboxState.READY,
        generation=envelope.generation,
        custodian=envelope.custodian or "",
        envelope=codec.encode(envelope, None),
        attempts=0,
        unended_runs=0,
        due_at=utc_now(),
        finished_at=None,
        expires_at=envelope.expires_at,
        owes_receipt=bool(envelope.custodian),
    )


def _is_over(row: InboxMessage) -> bool:
    return row.due_at is not None and row.due_at <= LEASES.now()


def is_expired(envelope: Envelope) -> bool:
    """Return whether nobody may handle it any more, clocks apart allowed for under custody."""
    allowance = timedelta(seconds=EXPIRY_ALLOWANCE_SECONDS if envelope.custodian else 0.0)
    return envelope.is_expired(utc_now() - allowance)
