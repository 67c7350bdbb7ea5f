"""What happens to rows of the outbox, one function per change."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError, connection, connections
from django.db.models import F, Min

from messaging import codec
from messaging.envelope import Envelope, utc_now
from messaging.errors import PublishError
from messaging.models import OutboxMessage

#: A relay that took a row and died lets go of it after this.
CLAIM_SECONDS: Final = 10.0
#: Rows of one claim; larger batches gain little and hold the lease longer.
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class DueMessage:
    """A row that this relay has claimed."""

    row_id: int
    #: The service to get it; empty for a broadcast.
    target: str
    body: str
    failures: int


def store(
    envelope: Envelope, *, to: str | None = None, delay_seconds: float, error: str = ""
) -> None:
    """Keep a message until a relay publishes it, in the caller's transaction if there is one.

    Storing the same attempt of a message again changes nothing. May be called on an event loop's
    thread; it then commits by itself.

    Args:
        envelope: the message.
        to: the only service to get it; None: whoever the envelope names.
        delay_seconds: how long to keep it.
        error: why it is here, text for people.

    Raises:
        PublishError: the database did not take it. NOT sent; safe to send again.
    """
    now = utc_now()
    row = OutboxMessage(
        message_id=envelope.id,
        target=envelope.target if to is None else to,
        attempt=envelope.attempt,
        generation=envelope.generation,
        source=envelope.source,
        type=envelope.type,
        priority=envelope.priority.value,
        envelope=codec.encode(envelope, None),
        created_at=now,
        due_at=now + timedelta(seconds=delay_seconds),
        last_error=error,
    )
    try:
        _off_the_event_loop(
            lambda: OutboxMessage.objects.bulk_create([row], ignore_conflicts=True)
        )
    except DatabaseError as exc:
        raise PublishError(f"the outbox could not take {envelope.type!r}: {exc}") from exc


def claim_due(now: datetime) -> list[DueMessage]:
    """Take up to `BATCH` rows that are due, oldest first; no other relay gets them meanwhile."""
    table = connection.ops.quote_name(OutboxMessage._meta.db_table)
    skip_locked = "FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
    instant = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET due_at = %s WHERE id IN ("
            f"SELECT id FROM {table} WHERE due_at <= %s ORDER BY due_at, id LIMIT {BATCH} "
            f"{skip_locked}) RETURNING id, target, envelope, failures",
            [instant(now + timedelta(seconds=CLAIM_SECONDS)), instant(now)],
        )
        rows = cursor.fetchall()
    return [DueMessage(*row) for row in sorted(rows)]


def seconds_until_due(now: datetime) -> float | None:
    """Return how long until the next row is due, 0 if one is; None if there is none."""
    next_due = OutboxMessage.objects.aggregate(next=Min("due_at"))["next"]
    return None if next_due is None else max(0.0, (next_due - now).total_seconds())


def remove(row_ids: list[int]) -> None:
    """Forget rows whose messages the broker has. Idempotent."""
    OutboxMessage.objects.filter(id__in=row_ids).delete()


def postpone(row_ids: list[int], due_at: datetime, error: str, *, count: bool) -> None:
    """Make rows due at another instant, with the reason.

    Args:
        row_ids: claimed rows.
        due_at: when to try again.
        error: text for people.
        count: whether this was a failure of the message itself, not of the broker.
    """
    OutboxMessage.objects.filter(id__in=row_ids).update(
        due_at=due_at, last_error=error, failures=F("failures") + int(count)
    )


def _off_the_event_loop(work: Callable[[], Any]) -> None:
    """Run database work here, or on a short-lived thread where Django forbids it here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        work()
        return
    failure: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:
            failure.append(exc)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name="messaging-outbox")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
