"""What is due in the inbox: retries, runs whose process is gone, receipts that are owed."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from django.db.models import F, Min

from messaging.custody import failed_rounds, sql
from messaging.custody.owner import is_dead, process
from messaging.custody.receipts import Entry
from messaging.custody.sql import Statement
from messaging.database_threads import lone_write, write_transaction
from messaging.envelope import utc_now
from messaging.forking import without_fork
from messaging.models import UNENDED, InboxMessage, InboxState

#: Rows of one claim.
BATCH: Final = 100
#: A row that is ready and was published is looked at again after this.
PUBLISHED_SECONDS: Final = 60.0
#: A copy in a queue that is not empty is believed to be there for so long.
BELIEVED_SECONDS: Final = 600.0
#: Then it is looked at again.
LOOK_SECONDS: Final = 30.0
#: How long a row is kept whose message only the broker has.
KEPT_FOR_BROKER_SECONDS: Final = 7 * 86_400.0

_INBOX: Final = InboxMessage._meta.db_table
#: What only the broker has is not ours to publish, but its run may be over.
_LOOK: Final = Statement(
    f"SELECT id, service, state, published_at, owner FROM {_INBOX} WHERE due_at <= %(now)s "
    "AND (state <> 'running' OR due_at <= %(leases_at)s) "
    "AND (state = 'running' OR envelope <> '') ORDER BY due_at LIMIT %(limit)s"
)
_OWNERS: Final = Statement(f"SELECT DISTINCT owner FROM {_INBOX} WHERE state = 'running'")
#: Every retry runs it, and those of an hour's outage all at once.
_TAKE: Final = Statement(
    f"UPDATE {_INBOX} SET state = 'ready', run_token = '', "
    "published_at = CASE WHEN envelope = '' THEN published_at ELSE %(now)s END, "
    "due_at = CASE WHEN envelope = '' THEN %(kept_until)s ELSE %(again_at)s END "
    "WHERE id = %(row_id)s AND state IN ('ready', 'running', 'waiting') AND due_at <= %(now)s "
    "RETURNING created_at, envelope"
)


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A message to be put into its own service's queue again."""

    row_id: int
    service: str
    body: str


@dataclass(frozen=True, slots=True)
class OwedReceipt:
    """What one custodian has to be told."""

    row_id: int
    service: str
    custodian: str
    entry: Entry


@without_fork
def claim_due(
    now: datetime,
    queue_length: Callable[[str], int],
    max_deaths: int,
    *,
    leases_at: datetime | None = None,
    is_patience_over: Callable[[], bool] = lambda: True,
) -> list[DueDelivery]:
    """``waiting | running (lease over) --> ready`` for what is due; to be published.

    What only the broker has is not returned: any delivery of it runs it.
    Killed before it is published, a row is due again after `PUBLISHED_SECONDS`.

    Args:
        now: the instant.
        queue_length: how many messages wait for a service.
        max_deaths: runs that may end with the death of their process, for the record.
        leases_at: the instant by which leases are judged, see `lease_clock`; None: now.
        is_patience_over: whether runs may be taken whose process is not known to be gone; asked
            where there is one whose lease is over, see `patience`.
    """
    rows = _LOOK.fetch_all({"now": now, "leases_at": leases_at or now, "limit": BATCH})
    silent = {row[0] for row in rows if row[2] == InboxState.RUNNING and not is_dead(row[4])}
    if silent and not is_patience_over():
        rows = [row for row in rows if row[0] not in silent]
    over = [row[0] for row in rows if row[2] == InboxState.RUNNING]
    runs = InboxMessage.objects.filter(state=InboxState.RUNNING).in_bulk(over) if over else {}
    taken, ended = [], []
    for row_id, service, state, published_at, _ in rows:
        if _is_believed(state, sql.instant(published_at), now) and queue_length(service):
            _put_off(row_id, now)
            continue
        row = _take(row_id, now)
        if row is None:
            continue  # another relay was faster, or its run lives
        if row_id in runs:
            ended.append(runs[row_id])
        created_at, body = row
        if body:
            taken.append((created_at, row_id, DueDelivery(row_id, service, body)))
    failed_rounds.note_deaths(ended, max_deaths)  # afterwards: nothing depends on them
    taken.sort(key=itemgetter(0, 1))
    return [delivery for _, _, delivery in taken]


@without_fork
def give_back(row_ids: Sequence[int], due_at: datetime) -> None:
    """Make rows due again that could not be published."""
    InboxMessage.objects.filter(pk__in=list(row_ids), state=InboxState.READY).update(
        due_at=due_at, published_at=None
    )


@without_fork
def end_dead_runs(max_deaths: int) -> int:
    """End the leases of runs whose process this host knows to be gone; return how many.

    Args:
        max_deaths: runs that may end so before the message is parked, for the record.
    """
    dead = [owner for (owner,) in _OWNERS.fetch_all({}) if is_dead(owner)]
    now = utc_now()
    if not dead:
        return 0
    ended = InboxMessage.objects.filter(state=InboxState.RUNNING, owner__in=dead, due_at__gt=now)
    rows = list(ended)
    count = ended.update(due_at=now)
    failed_rounds.note_deaths(rows, max_deaths)  # afterwards: nothing depends on them
    return count


@without_fork
def release(pids: Iterable[int]) -> int:
    """``running --> ready`` for all runs of these processes, which end now and by intent.

    They do not count as deaths: a deployment must not park what it interrupts.
    """
    return InboxMessage.objects.filter(
        state=InboxState.RUNNING, owner__in=[process(pid) for pid in pids]
    ).update(
        state=InboxState.READY,
        unended_runs=F("unended_runs") - 1,
        run_token="",
        due_at=utc_now(),
    )


@without_fork
def seconds_until_due(now: datetime) -> float | None:
    """Return how long until the next row is due; None if there is none."""
    # What only the broker has is not ours to publish.
    due = InboxMessage.objects.filter(due_at__isnull=False).exclude(
        envelope="", state=InboxState.READY
    )
    instant = due.aggregate(first=Min("due_at"))["first"]
    return None if instant is None else max(0.0, (instant - now).total_seconds())


@without_fork
def claim_receipts(services: Collection[str] | None = None) -> list[OwedReceipt]:
    """Take receipts that are owed, after making sure that what they say survives a power cut.

    Args:
        services: whose; None: those of all services that have their rows here.
    """
    owing = InboxMessage.objects.filter(owes_receipt=True)
    if services is not None:
        owing = owing.filter(service__in=services)
    rows = list(
        owing.order_by("pk").only(
            "message_id", "service", "custodian", "generation", "state", "last_error"
        )[:BATCH]
    )
    cleared = _clear_debts(rows) if rows else set()
    return [
        OwedReceipt(
            row.pk,
            row.service,
            row.custodian,
            Entry(row.message_id, row.generation, _outcome(row.state), row.last_error[:1000]),
        )
        for row in rows
        if row.pk in cleared
    ]


@without_fork
def owe_again(receipts: Sequence[OwedReceipt]) -> None:
    """Note that receipts could not be sent."""
    InboxMessage.objects.filter(pk__in=[receipt.row_id for receipt in receipts]).update(
        owes_receipt=True
    )


def _is_believed(state: str, published_at: datetime | None, now: datetime) -> bool:
    """Return whether a copy may still be in the queue."""
    believed = timedelta(seconds=BELIEVED_SECONDS)
    return state == InboxState.READY and published_at is not None and now - published_at < believed


def _put_off(row_id: int, now: datetime) -> None:
    still = InboxMessage.objects.filter(pk=row_id, state__in=UNENDED, due_at__lte=now)
    still.update(due_at=now + timedelta(seconds=LOOK_SECONDS))


def _take(row_id: int, now: datetime) -> tuple[Any, str] | None:
    """Return when it was said, and its body; empty: only the broker has it."""
    with lone_write():
        return _TAKE.fetch(
            {
                "row_id": row_id,
                "now": now,
                "again_at": now + timedelta(seconds=PUBLISHED_SECONDS),
                "kept_until": now + timedelta(seconds=KEPT_FOR_BROKER_SECONDS),
            }
        )


def _clear_debts(rows: Sequence[InboxMessage]) -> set[int]:
    """Settle the debts of rows that still say what was read, in a commit that reaches the disk.

    A row that has come to its end since owes that, too, and keeps its debt. A sender on another
    machine closes its books on a receipt, and a power cut here must not take back what it said: on
    SQLite one such commit syncs the whole log before it; PostgreSQL always does.
    """
    with write_transaction():
        return {
            row.pk
            for row in rows
            if InboxMessage.objects.filter(
                pk=row.pk, state=row.state, generation=row.generation, owes_receipt=True
            ).update(owes_receipt=False)
        }


def _outcome(state: str) -> str:
    return "accepted" if state in UNENDED else state
