"""What happens to a received message's row, one function per change.

``running --done--> handled``; ``running --fail--> waiting --due--> ready``; ``running --park-->
parked``; how a run begins: `begin`. A run owns its row by its token: a statement that changes
nothing means that it has lost it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q

from messaging import codec
from messaging.custody import hot, ordering, outbox
from messaging.custody.outbox import Key
from messaging.database_threads import write_transaction
from messaging.envelope import Envelope, utc_now
from messaging.errors import LeaseLost
from messaging.forking import without_fork
from messaging.models import UNENDED, InboxMessage, InboxState
from messaging.text import storable

_SIGNAL_LENGTH: Final = 40
#: What was begun and given back goes to the broker again after this, should the copy that is there
#: get lost.
GIVEN_BACK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a handler, by the row that it owns."""

    row_id: int
    token: str
    envelope: Envelope
    service: str
    #: Attempts made before this run.
    attempts: int


@without_fork
def done(run: Run, *, copies: int | None = None) -> None:
    """``running --> handled``. With ``atomic=True`` the last statement of its transaction.

    Raises:
        LeaseLost: another run owns the row now. Roll back.
    """
    with write_transaction(to_disk=False):
        _end(run, InboxState.HANDLED, copies=copies)


def end_all(runs: Iterable[Run]) -> set[str]:
    """``running --> handled`` for runs of handlers without ``atomic=True``.

    In the caller's transaction.

    Returns:
        Tokens of those whose row another run owns now; nothing is noted of them.
    """
    lost = set()
    # In one order everywhere: two that change many rows must not wait for each other.
    for run in sorted(runs, key=lambda run: run.envelope.id):
        try:
            _end(run, InboxState.HANDLED)
        except LeaseLost:
            lost.add(run.token)
    return lost


@without_fork
def give_back(runs: Iterable[Run]) -> None:
    """``running --> ready`` for runs whose handler was not called, uncounted."""
    again = utc_now() + timedelta(seconds=GIVEN_BACK_SECONDS)
    with write_transaction(to_disk=False):
        for run in runs:
            _owned(run).update(
                state=InboxState.READY,
                unended_runs=F("unended_runs") - 1,
                run_token="",
                due_at=again,
            )


@without_fork
def fail(run: Run, *, tries: int, delay_seconds: float, error: str) -> None:
    """``running --> waiting``: tried again later.

    Raises:
        LeaseLost: another run owns the row now.
    """
    changed = _owned(run).update(
        state=InboxState.WAITING,
        attempts=F("attempts") + tries,
        unended_runs=0,
        run_token="",
        due_at=utc_now() + timedelta(seconds=delay_seconds),
        last_error=storable(error),
        envelope=codec.encode(run.envelope, None),
    )
    if not changed:
        raise LeaseLost(run.envelope.id)


@without_fork
def keep_failed(
    envelope: Envelope, service: str, *, tries: int, delay_seconds: float, error: str
) -> None:
    """``(none) --> waiting``: put a message that failed on record, to be tried again later.

    If it is on record already, it stays as it is there.
    """
    now = utc_now()
    row = _row(envelope, service)
    row.state = InboxState.WAITING
    row.due_at = now + timedelta(seconds=delay_seconds)
    row.attempts = tries
    row.last_error = storable(error)
    row.envelope = codec.encode(envelope, None)
    InboxMessage.objects.bulk_create([row], ignore_conflicts=True)


def put_off(envelope: Envelope, service: str, seconds: float, why: str) -> None:
    """``(none) | ready --> waiting``, not run at all. In the caller's transaction."""
    values = {
        "state": InboxState.WAITING,
        "due_at": utc_now() + timedelta(seconds=seconds),
        "last_error": why,
        "envelope": codec.encode(envelope, None),
        "owes_receipt": bool(envelope.custodian),
    }
    known = InboxMessage.objects.filter(message_id=envelope.id, service=service)
    if not known.filter(state=InboxState.READY).update(**values) and not known.exists():
        row = _row(envelope, service)
        for name, value in values.items():
            setattr(row, name, value)
        InboxMessage.objects.bulk_create([row], ignore_conflicts=True)


@without_fork
def park(run: Run, *, tries: int, error: str) -> None:
    """``running --> parked``. In one transaction with the dead letter, which the caller opens.

    Raises:
        LeaseLost: another run owns the row now. Roll back.
    """
    _end(run, InboxState.PARKED, tries=tries, error=error)


@without_fork
def park_unrun(envelope: Envelope, service: str, *, error: str, expired: bool) -> bool:
    """``(none) | ready --> parked | expired`` without a run. In the dead letter's transaction.

    Returns:
        False if the row is somebody else's, or at its end already: then there is nothing to do.
    """
    state = InboxState.EXPIRED if expired else InboxState.PARKED
    now = utc_now()
    ended = {
        "state": state,
        "due_at": None,
        "run_token": "",
        "finished_at": now,
        "last_error": storable(error),
        "owes_receipt": bool(envelope.custodian),
    }
    free = Q(state=InboxState.READY) | Q(state=InboxState.RUNNING, due_at__lte=now)
    known = InboxMessage.objects.filter(message_id=envelope.id, service=service)
    is_ended = bool(known.filter(free, generation=envelope.generation).update(**ended))
    if not is_ended and not known.exists():
        row = _row(envelope, service)
        row.envelope = codec.encode(envelope, None)
        for name, value in ended.items():
            setattr(row, name, value)
        InboxMessage.objects.bulk_create([row], ignore_conflicts=True)
        is_ended = True
    if is_ended and _tell_here(envelope, service, state, error):
        known.update(owes_receipt=False)
    return is_ended


@without_fork
def note_death(message_id: str, service: str, signal: str) -> None:
    """Note what killed the process of a run, for whoever reads the dead letter."""
    # Whatever became of the row meanwhile: a relay may have found the process gone before.
    InboxMessage.objects.filter(message_id=message_id, service=service, state__in=UNENDED).update(
        signal=storable(signal)[:_SIGNAL_LENGTH]
    )


@without_fork
def owe(key: Key) -> None:
    """Have its custodian told again how far this message has come."""
    InboxMessage.objects.filter(
        message_id=key.message_id, service=key.target, generation=key.generation
    ).exclude(custodian="").update(owes_receipt=True)


def _end(
    run: Run, state: InboxState, *, tries: int = 0, error: str = "", copies: int | None = None
) -> None:
    """``running --> state`` and tell the custodian, where its row is in this database."""
    envelope = run.envelope
    values = {
        "message_id": envelope.id,
        "target": run.service,
        "generation": envelope.generation,
        "row_id": run.row_id,
        "token": run.token,
        "outcome": state.value,
        "now": utc_now(),
        "has_custodian": bool(envelope.custodian),
        "tries": tries,
        "reason": storable(error),
        "copies": copies,
    }
    if not hot.END_RUN.run(values):
        raise LeaseLost(envelope.id)
    if envelope.custodian and not outbox.settle_bound(values) and envelope.ordering_key:
        # Its sender has the next one, and waits for this one's receipt.
        transaction.on_commit(ordering.RELAYS.wake)


def _tell_here(envelope: Envelope, service: str, outcome: str, reason: str = "") -> bool:
    """Settle the custodian's row if it is in this database; no receipt is needed then."""
    if not envelope.custodian:
        return False
    return outbox.settle(Key(envelope.id, service, envelope.generation), outcome, reason)


def _owned(run: Run) -> Any:
    return InboxMessage.objects.filter(
        pk=run.row_id, state=InboxState.RUNNING, run_token=run.token
    )


def _row(envelope: Envelope, service: str) -> InboxMessage:
    return InboxMessage(
        message_id=envelope.id,
        service=service,
        generation=envelope.generation,
        source=envelope.source,
        custodian=envelope.custodian or "",
        type=envelope.type,
        priority=envelope.priority.value,
        ordering_key=envelope.ordering_key or "",
        created_at=envelope.created_at,
        expires_at=envelope.expires_at,
        begun_at=utc_now(),
    )
