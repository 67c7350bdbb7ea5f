"""Sending what recurs, each one once, however many beats and workers there are.

``next_at`` of a row says when the next one is due, and the outbox has a message for that instant,
to the gateway itself. Whoever handles it moves ``next_at`` on and sends, in one transaction, and
changes nothing where somebody has done so before. No clock of a process is asked in between.
"""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F, Q

from gateway_app import audit
from gateway_app.bus import communicator
from gateway_app.models import RecurringMessage
from messaging.compose import Composer
from messaging.database_threads import write_transaction
from messaging.envelope import MessageKind, MessagePriority, utc_now
from messaging.errors import MessagingError
from messaging.models import OPEN, OutboxMessage
from messaging.registration import RECURRING_DUE

logger = logging.getLogger(__name__)

#: One that is due for so long was lost on its way to the gateway: the broker was wiped.
LATE_SECONDS: Final = 30.0


def plan(row: RecurringMessage, now: datetime) -> None:
    """Have the gateway told when the next one is due. In the transaction that says when.

    Safe to repeat.
    """
    if row.next_at is None:
        return
    communicator.send_to_service(
        communicator.name,
        RECURRING_DUE,
        {"id": row.pk, "at": row.next_at.isoformat()},
        priority=MessagePriority.HIGH,
        delay=max(0.0, (row.next_at - now).total_seconds()),
    )


def set_next(row: RecurringMessage, now: datetime) -> None:
    """Set when a new or changed one is due next, and have the gateway told then. In a transaction.

    Raises:
        ValueError: a field of it is wrong.
    """
    row.next_at = None if row.is_paused else row.recurrence.next_after(now)
    RecurringMessage.objects.filter(pk=row.pk).update(next_at=row.next_at)
    plan(row, now)


def send_due(row_id: int, at: datetime) -> str | None:
    """Send what is due at an instant, and plan the next one. In the caller's transaction.

    Args:
        row_id: which.
        at: the instant; the row says another one where this was done, or was changed since.

    Returns:
        The id of the message; None: nothing was sent.
    """
    row = RecurringMessage.objects.filter(pk=row_id, next_at=at, is_paused=False).first()
    if row is None:
        return None
    # What fell due while no worker of the gateway ran counts as this one.
    now = max(utc_now(), at)
    try:
        next_at = row.recurrence.next_after(now)
    except ValueError as exc:
        _pause(row, str(exc))
        return None
    is_left_out = not row.overlaps and _is_open(row)
    counter = "left_out" if is_left_out else "sent"
    as_read = RecurringMessage.objects.filter(pk=row_id, next_at=at, is_paused=False)
    if not as_read.update(next_at=next_at, last_at=at, **{counter: F(counter) + 1}):
        return None  # another worker was faster
    row.next_at = next_at
    plan(row, now)
    if is_left_out:
        logger.warning("%s is left out: %s is not at its end", row, row.last_message_id)
        return None
    return send(row, at.isoformat())


def send(row: RecurringMessage, occasion: str) -> str:
    """Send one now; return its id. The same message for the same occasion. In a transaction."""
    said = row.recurrence
    # In the name of who declares it: handlers that allow certain senders mean that one.
    envelope = Composer(row.service or communicator.name).compose(
        MessageKind.COMMAND if said.to else MessageKind.EVENT,
        said.type,
        said.data,
        target=said.to,
        priority=said.priority,
        expires_in=said.expires_in,
        dedup_key=f"recurring {row.pk} {occasion}",
        under_custody=True,
    )
    # Answered for by the gateway, which signs it, as it does copies of broadcasts.
    envelope = replace(envelope, custodian=communicator.name)
    communicator.bus.dispatch.send(envelope, delay=None, may_repeat=True)
    RecurringMessage.objects.filter(pk=row.pk).update(last_message_id=envelope.id)
    return envelope.id


def mend(now: datetime) -> int:
    """See to those that are due, or have no next time, and that nobody is told of; how many."""
    late = Q(next_at__lte=now - timedelta(seconds=LATE_SECONDS)) | Q(next_at=None)
    rows = list(RecurringMessage.objects.filter(late, is_paused=False))
    for row in rows:
        logger.warning("%s was due at %s: planned now", row, row.next_at)
        try:
            with write_transaction():
                if row.next_at is None:
                    set_next(row, now)
                else:
                    plan(row, now)
        except (MessagingError, ValueError) as exc:
            logger.warning("%s is planned a minute later: %s", row, exc)
    return len(rows)


def _pause(row: RecurringMessage, why: str) -> None:
    """Stop one that says what cannot be sent: written by hand, or by another version."""
    logger.error("%s is paused: %s", row, why)
    RecurringMessage.objects.filter(pk=row.pk).update(is_paused=True, next_at=None)
    audit.record(
        "recurring", actor=communicator.name, service=row.target, detail=f"{row}: paused: {why}"
    )


def _is_open(row: RecurringMessage) -> bool:
    return OutboxMessage.objects.filter(
        message_id=row.last_message_id, target=row.target, state__in=OPEN
    ).exists()
