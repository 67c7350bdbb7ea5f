"""Beginning a run: who may, and what becomes of a delivery that is not run.

``(none) | ready --begin--> running``; a run whose process died: ``running --begin--> running``; a
replay: ``parked --> ready --begin--> running``.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from messaging import codec
from messaging.custody import failed_rounds, outbox
from messaging.custody.arrival import Arrival
from messaging.custody.hot import BEGIN_RUN, horizon_of
from messaging.custody.inbox import Run
from messaging.custody.outbox import Key
from messaging.custody.owner import is_dead, this_process
from messaging.custody.runs import LEASE_SECONDS, LEASES, RUNS
from messaging.database_threads import write_transaction
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope, utc_now
from messaging.forking import without_fork
from messaging.models import UNENDED, InboxMessage, InboxState

#: A suspect that has to wait for another one looks again after this.
SUSPECT_SECONDS: Final = 1.0
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


Begun = Run | NotRun | MustPark


@without_fork
def begin(
    envelope: Envelope, service: str, arrival: Arrival, max_deaths: int, version: str = ""
) -> Begun:
    """Take a message for a run of its handler; counted before it begins.

    Commits. On return of a `Run` the row, and under custody the payload with it, is this
    database's; of a `NotRun`, somebody else answers for it.

    Args:
        envelope: the message.
        service: whose handler runs.
        arrival: how it came.
        max_deaths: runs that may end with the death of their process before it is parked.
        version: of the service, for the record; at most 100 characters.

    Raises:
        DatabaseError: nothing happened; the broker must keep the message.
    """
    begun: list[Begun] = []
    try:
        with write_transaction(to_disk=False):
            begun = begin_all([(envelope, arrival)], service, max_deaths, version)
    except BaseException:
        release_suspects(begun)  # the commit may have failed
        raise
    return begun[0]


def release_suspects(begun: Iterable[Begun]) -> None:
    """Let others have their last chance: these have not begun after all."""
    for each in begun:
        if isinstance(each, Run):
            RUNS.release_suspect(each.token)


def begin_all(
    deliveries: Sequence[tuple[Envelope, Arrival]],
    service: str,
    max_deaths: int,
    version: str = "",
) -> list[Begun]:
    """Take messages for runs, in the caller's transaction; see `begin`.

    Should that fail: `release_suspects`.

    Raises:
        DatabaseError: roll back, and nothing happened to any of them.
    """
    tokens = [secrets.token_hex(8) for _ in deliveries]
    horizons: dict[str, datetime | None] = {}
    found: list[Begun] = []
    try:
        for (envelope, arrival), token in zip(deliveries, tokens, strict=True):
            if envelope.source not in horizons:
                horizons[envelope.source] = horizon_of(service, envelope.source)
            purged_upto = horizons[envelope.source]
            begun = None
            while begun is None:
                begun = _begin(
                    envelope, service, arrival, max_deaths, token, purged_upto, version
                ) or _why_not(envelope, service, max_deaths)
            found.append(begun)
    except BaseException:
        for token in tokens:
            RUNS.release_suspect(token)
        raise
    return found


def _begin(
    envelope: Envelope,
    service: str,
    arrival: Arrival,
    max_deaths: int,
    token: str,
    purged_upto: datetime | None,
    version: str,
) -> Run | NotRun | None:
    if _is_expired(envelope):
        return None
    if purged_upto is not None and envelope.created_at <= purged_upto and not envelope.generation:
        known = InboxMessage.objects.filter(message_id=envelope.id, service=service)
        if not known.exists():
            return None
    row = _take(envelope, service, arrival, max_deaths, token, version)
    if row is None:
        return None
    row_id, attempts, unended_runs = row
    # Its last chance. Alone among its like: those that only died beside a killer get through.
    is_suspect = 1 < unended_runs >= max_deaths
    if is_suspect and not RUNS.claim_suspect(token):
        InboxMessage.objects.filter(pk=row_id).update(
            state=InboxState.WAITING,
            run_token="",
            unended_runs=unended_runs - 1,
            due_at=utc_now() + timedelta(seconds=SUSPECT_SECONDS),
            envelope=codec.encode(envelope, None),
        )
        return NotRun(why="waits for another message that may kill this process")
    return Run(
        row_id=row_id,
        token=token,
        envelope=envelope,
        service=service,
        attempts=attempts,
    )


def _take(
    envelope: Envelope,
    service: str,
    arrival: Arrival,
    max_deaths: int,
    token: str,
    version: str,
) -> tuple[int, int, int] | None:
    now = utc_now()
    custodian = envelope.custodian or ""
    values = {
        "message_id": envelope.id,
        "service": service,
        "generation": envelope.generation,
        "source": envelope.source,
        "custodian": custodian,
        "type": envelope.type,
        "priority": envelope.priority.value,
        "created_at": envelope.created_at,
        "expires_at": envelope.expires_at,
        "envelope": codec.encode(envelope, None) if custodian else "",
        "state": InboxState.RUNNING.value,
        "due_at": now + timedelta(seconds=LEASE_SECONDS),
        "run_token": token,
        "owner": this_process(),
        "attempts": 0,
        "unended_runs": 2 if _may_have_run(envelope, arrival) else 1,
        "owes_receipt": bool(custodian),
        "sent_at": arrival.sent_at,
        "begun_at": now,
        "last_error": "",
        "signal": "",
        "version": version,
        "max_deaths": max_deaths,
    }
    return BEGIN_RUN.fetch(values)


def _may_have_run(envelope: Envelope, arrival: Arrival) -> bool:
    """Return whether a message that is not on record may have been run all the same.

    What is on record before it runs was only held by a worker that died, and never begun.
    """
    return arrival.redelivered and not envelope.custodian and not arrival.publishes


def _why_not(envelope: Envelope, service: str, max_deaths: int) -> NotRun | MustPark | None:
    """Say why a message was not begun, and see that somebody answers for it; None: try again."""
    row = InboxMessage.objects.filter(message_id=envelope.id, service=service).first()
    expired = MustPark(reason=DeadLetterReason.EXPIRED, error=f"expired at {envelope.expires_at}")
    if row is None:
        if _is_expired(envelope):
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
        return expired if _is_expired(envelope) else None
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


def _is_expired(envelope: Envelope) -> bool:
    allowance = timedelta(seconds=EXPIRY_ALLOWANCE_SECONDS if envelope.custodian else 0.0)
    return envelope.is_expired(utc_now() - allowance)
