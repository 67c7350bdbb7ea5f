"""What has become of dead letters since they were parked, as this database knows it."""

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from gateway_app.models import DeadLetter, ItemOutcome, ReplayRunItem
from gateway_app.models.replays import OPEN_OUTCOMES
from messaging.models import InboxMessage, InboxState, OutboxMessage, OutboxState

HANDLED_MEANWHILE: Final = "handled after it had been parked"
SENT_EDITED: Final = "sent with other data, as"
#: Of an error, which may be as long as a message.
DETAIL_LENGTH: Final = 500
#: Ends of a replay that are none of its service's doing.
_LOST: Final = (OutboxState.PARKED, OutboxState.EXPIRED, OutboxState.RESOLVED)


def has_been_done() -> Q:
    """Return which dead letters must not run again, as a condition on their rows.

    Those that were handled after they had been parked, as their service or its receipt says, and
    those that were sent with other data instead.
    """
    copy = {"message_id": OuterRef("message_id"), "generation__gte": OuterRef("generation")}
    received = InboxMessage.objects.filter(
        **copy, service=OuterRef("service"), state=InboxState.HANDLED
    )
    sent = OutboxMessage.objects.filter(
        **copy, target=OuterRef("service"), state=OutboxState.HANDLED
    )
    return Q(Exists(received)) | Q(Exists(sent)) | ~Q(edited_as="")


def why_done(letter: DeadLetter) -> str:
    """Return why a dead letter must not run again, as it is now; empty: it may."""
    now = DeadLetter.objects.filter(has_been_done(), pk=letter.pk).values_list("edited_as")
    found = now.first()
    if found is None:
        return ""
    return f"{SENT_EDITED} {found[0]}" if found[0] else HANDLED_MEANWHILE


@dataclass(frozen=True, slots=True)
class Seen:
    """What has become of an item that was sent."""

    item: ReplayRunItem
    outcome: ItemOutcome
    #: Text for people.
    detail: str


def news_of(items: QuerySet[ReplayRunItem]) -> list[Seen]:
    """Return what has become of items that were sent, where that is not noted yet. One query.

    Failed attempts that will be repeated are seen only of services that share this database.
    """
    copy: dict[str, Any] = {
        "message_id": OuterRef("letter__message_id"),
        "generation": OuterRef("letter__generation") + 1,
    }
    sent = OutboxMessage.objects.filter(**copy, target=OuterRef("letter__service"))
    received = InboxMessage.objects.filter(**copy, service=OuterRef("letter__service"))
    rows = (
        items.filter(outcome__in=OPEN_OUTCOMES)
        .annotate(
            sent_state=Subquery(sent.values("state")[:1]),
            sent_reason=Subquery(sent.values("reason")[:1]),
            received_state=Subquery(received.values("state")[:1]),
            received_error=Subquery(received.values("last_error")[:1]),
        )
        .filter(
            Q(sent_state__in=(OutboxState.HANDLED, *_LOST))
            | Q(received_state__in=(InboxState.HANDLED, InboxState.PARKED, InboxState.EXPIRED))
            | Q(received_state=InboxState.WAITING, outcome=ItemOutcome.SENT)
        )
        .order_by("pk")
    )
    return [_seen(row) for row in rows]


def _seen(row: Any) -> Seen:
    error = (row.received_error or row.sent_reason or "")[:DETAIL_LENGTH]
    if OutboxState.HANDLED in (row.sent_state, row.received_state):
        return Seen(row, ItemOutcome.HANDLED, "")
    if row.received_state == InboxState.WAITING and row.sent_state not in _LOST:
        return Seen(row, ItemOutcome.RETRYING, error)
    return Seen(row, ItemOutcome.PARKED_AGAIN, error or str(row.sent_state))
