"""Beginning a run: who may. What becomes of a delivery that is not run: `why_not`.

``(none) | ready --begin--> running``; a run whose process died: ``running --begin--> running``; a
replay: ``parked --> ready --begin--> running``.
"""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import IntegrityError

from messaging import codec
from messaging.custody import inbox
from messaging.custody.arrival import Arrival
from messaging.custody.hot import BEGIN_RUN, horizon_of
from messaging.custody.inbox import Run
from messaging.custody.owner import this_process
from messaging.custody.runs import LEASE_SECONDS, RUNS
from messaging.custody.why_not import MustPark, NotRun, is_expired, why_not
from messaging.database_threads import write_transaction
from messaging.envelope import Envelope, MessagePriority, utc_now
from messaging.forking import without_fork
from messaging.models import InboxMessage, InboxState

#: A suspect that has to wait for another one looks again after this.
SUSPECT_SECONDS: Final = 1.0
#: A message looks again after this while another one of its ordering key is run.
ORDER_SECONDS: Final = 0.5

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
    horizons: dict[tuple[str, bool], datetime | None] = {}
    found: list[Begun] = []
    try:
        for (envelope, arrival), token in zip(deliveries, tokens, strict=True):
            is_critical = envelope.priority is MessagePriority.CRITICAL
            said = envelope.source, is_critical or bool(envelope.custodian)
            if said not in horizons:
                horizons[said] = horizon_of(service, said[0], in_custody=said[1])
            purged_upto = horizons[said]
            begun = None
            while begun is None:
                begun = _begin(
                    envelope, service, arrival, max_deaths, token, purged_upto, version
                ) or why_not(envelope, service, max_deaths)
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
    if is_expired(envelope):
        return None
    if purged_upto is not None and envelope.created_at <= purged_upto and not envelope.generation:
        known = InboxMessage.objects.filter(message_id=envelope.id, service=service)
        if not known.exists():
            return None
    try:
        row = _take(envelope, service, arrival, max_deaths, token, version)
    except IntegrityError:
        others = InboxMessage.objects.exclude(message_id=envelope.id)
        in_hand = others.filter(
            service=service, ordering_key=envelope.ordering_key, state=InboxState.RUNNING
        )
        if envelope.ordering_key is None or not in_hand.exists():
            raise
        why = "waits for another message of its ordering key"
        inbox.put_off(envelope, service, ORDER_SECONDS, why)
        return NotRun(why=why)
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
        "ordering_key": envelope.ordering_key or "",
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
    if envelope.ordering_key is None:
        return BEGIN_RUN.fetch(values)
    with write_transaction():  # a savepoint: another message of the key may be run
        return BEGIN_RUN.fetch(values)


def _may_have_run(envelope: Envelope, arrival: Arrival) -> bool:
    """Return whether a message that is not on record may have been run all the same.

    What is on record before it runs was only held by a worker that died, and never begun.
    """
    return arrival.redelivered and not envelope.custodian and not arrival.publishes
