"""What is due in the outbox: taking it, and knowing when the next row is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import Min

from messaging.custody import hot, sql
from messaging.custody.outbox import CLAIM_SECONDS, URGENCY, Key
from messaging.database_threads import write_transaction
from messaging.forking import without_fork
from messaging.models import OutboxMessage

#: Rows of one claim; larger batches gain little and hold the lease longer.
BATCH: Final = 100
#: What is held and falls due is left for so long to relays that can tell whether its target is
#: still down. In a database shared with the gateway others would publish it, whatever the answer.
PRECEDENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class DueMessage:
    """A row that this relay has claimed."""

    row_id: int
    key: Key
    body: str
    state: str
    under_custody: bool
    first_published_at: datetime | None
    published_at: datetime | None
    publishes: int
    failures: int
    held_at: datetime | None


@without_fork
def claim_due(
    now: datetime, limit: int = BATCH, *, knows_registry: bool = True
) -> list[DueMessage]:
    """Take rows that are due, the most urgent first; no other relay gets them meanwhile.

    Of the same urgency, those that have been due for longest; what fell due at one instant, in the
    order in which it was stored. They are returned by urgency, then by when they were said.

    Args:
        now: the instant.
        limit: most rows.
        knows_registry: whether the caller can tell who is down; see `PRECEDENCE_SECONDS`.
    """
    held_due_at = now if knows_registry else now - timedelta(seconds=PRECEDENCE_SECONDS)
    found: list[DueMessage] = []
    # One transaction: on SQLite no other relay takes the less urgent of them, and is faster.
    with write_transaction(to_disk=False):
        for urgency in sorted(URGENCY.values(), reverse=True):
            if len(found) < limit:
                found += _claim(urgency, now, held_due_at, limit - len(found))
    return found


@without_fork
def seconds_until_due(now: datetime) -> float | None:
    """Return how long until the next row is due, 0 if one is; None if there is none."""
    due = OutboxMessage.objects.filter(due_at__isnull=False)
    firsts = [
        due.filter(urgency=urgency).aggregate(first=Min("due_at"))["first"]
        for urgency in URGENCY.values()
    ]
    known = [first for first in firsts if first is not None]
    return max(0.0, (min(known) - now).total_seconds()) if known else None


def _claim(urgency: int, now: datetime, held_due_at: datetime, limit: int) -> list[DueMessage]:
    values = {
        "now": now,
        "due_at": now + timedelta(seconds=CLAIM_SECONDS),
        "held_due_at": held_due_at,
        "urgency": urgency,
        "limit": limit,
    }
    claim = hot.CLAIM_DUE_SKIPPING if connection.vendor == "postgresql" else hot.CLAIM_DUE
    found = []
    for row in sorted(claim.fetch_all(values)):  # by when they were said
        body, state, under_custody, first_published_at, published_at = row[5:10]
        found.append(
            DueMessage(
                row_id=row[1],
                key=Key(*row[2:5]),
                body=body,
                state=state,
                under_custody=bool(under_custody),
                first_published_at=sql.instant(first_published_at),
                published_at=sql.instant(published_at),
                publishes=row[10],
                failures=row[11],
                held_at=sql.instant(row[12]),
            )
        )
    return found
