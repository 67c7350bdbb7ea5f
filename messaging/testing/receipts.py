"""Receipts that get lost: senders are not told, and act as if they had never been."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from django.db.models import QuerySet

from messaging.custody.decision import PATIENCE
from messaging.models import OutboxMessage, OutboxState

_TOLD: Final = (
    OutboxState.ACCEPTED,
    OutboxState.HANDLED,
    OutboxState.PARKED,
    OutboxState.EXPIRED,
)


def told_of(services: Collection[str]) -> QuerySet[OutboxMessage]:
    """Return what senders have been told of what these services were sent under custody."""
    return OutboxMessage.objects.filter(
        target__in=services, under_custody=True, state__in=_TOLD, published_at__isnull=False
    )


def untell(services: Collection[str], known: Collection[int], receipt_seconds: float) -> None:
    """Have senders know nothing of what these services have told, but for the rows known before.

    Here sender and receiver share a database, and the receiver's commit tells the sender. Their
    rows are put back to where those of two databases would be: published, and looked at again when
    `custody.decision` says so.

    Args:
        services: whose receipts get lost.
        known: ids of rows whose receipts had come through before.
        receipt_seconds: ``receipt_timeout_seconds``.
    """
    for row in told_of(services).exclude(pk__in=known):
        assert row.published_at is not None
        pause = min(PATIENCE, 2.0 ** min(max(row.publishes - 1, 0), 16)) * receipt_seconds
        if row.ordering_key:
            _queue_again(row)
        row.state = OutboxState.PUBLISHED
        row.settled_at = row.told_at = None
        row.due_at = row.published_at + timedelta(seconds=pause)
        row.reason = ""
        row.save()


def _queue_again(row: OutboxMessage) -> None:
    """Take back what the end of this message has let out: its sender does not know of that."""
    OutboxMessage.objects.filter(
        target=row.target,
        ordering_key=row.ordering_key,
        state=OutboxState.PENDING,
        publishes=0,
        pk__gt=row.pk,
    ).update(state=OutboxState.QUEUED, due_at=None)
