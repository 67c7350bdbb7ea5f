"""The ledger: what was sent under custody, and what became of each message.

What is unaccounted for is found, not subtracted: rows that should have a counterpart and have
none. It is looked for in this database; what lies in others is told by receipts and answers.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from gateway_app.bus import communicator
from gateway_app.models import AuditRecord, DeadLetter
from messaging.compose import id_of
from messaging.custody import operating, outbox
from messaging.envelope import utc_now
from messaging.models import (
    OPEN,
    DedupHorizon,
    InboxMessage,
    InboxState,
    OutboxMessage,
    OutboxState,
)
from messaging.parking import dead_letter_key

#: How long the dead letter of a service with another database may take after the receipt.
LETTER_PATIENCE: Final = timedelta(minutes=30)
#: Open messages that are listed; `Account.counts` has all.
MOST_LISTED: Final = 1000
_ENDS: Final = (
    OutboxState.HANDLED,
    OutboxState.PARKED,
    OutboxState.EXPIRED,
    OutboxState.RESOLVED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The balance of a time span."""

    since: datetime | None
    until: datetime
    #: By state; open ones under ``in_flight``.
    counts: dict[str, int]
    #: Copies published again, which change nothing.
    duplicates: int
    #: Messages without an end.
    messages: list[dict[str, Any]]

    @property
    def unaccounted(self) -> int:
        """Messages that nobody answers for."""
        return self.counts["unaccounted"]

    def to_json(self) -> dict[str, Any]:
        """Return what ``bus_account --json`` prints."""
        return {
            "since": self.since and self.since.isoformat(),
            "until": self.until.isoformat(),
            **self.counts,
            "duplicates": self.duplicates,
            "messages": self.messages,
        }


def account(since: datetime | None = None) -> Account:
    """Return the balance of what was sent since an instant; None: of all that is remembered."""
    now = utc_now()
    sent = _newest(OutboxMessage.objects.filter(under_custody=True, created_at__lte=now))
    if since is not None:
        sent = sent.filter(created_at__gte=since)
    by_state = Counter(dict(sent.values_list("state").order_by().annotate(Count("pk"))))
    publishes = sent.filter(publishes__gt=1).aggregate(
        copies=Sum("publishes"), messages=Count("pk")
    )
    lost = _lost(sent)
    for entry in lost:
        by_state[entry["state"]] -= 1
    counts = {"accepted": sum(by_state.values()) + len(lost)}
    counts |= {end.value: by_state.get(end, 0) for end in _ENDS}
    counts["in_flight"] = sum(by_state.get(state, 0) for state in OPEN)
    counts["unaccounted"] = len(lost)
    lost_copies = {(entry["id"], entry["service"]) for entry in lost}
    still_open = [
        _described(row, _where(row))
        for row in sent.filter(state__in=OPEN).order_by("created_at")[:MOST_LISTED]
        if (row.message_id, row.target) not in lost_copies
    ]
    return Account(
        since=since,
        until=now,
        counts=counts,
        duplicates=(publishes["copies"] or 0) - publishes["messages"],
        messages=[*lost, *still_open],
    )


def reopen(actor: str) -> int:
    """Send again what receivers have lost after accepting it. Safe: their inboxes guard it."""
    keys = [
        outbox.Key(row.message_id, row.target, row.generation)
        for row in _lost_by_receivers(OutboxMessage.objects.filter(under_custody=True))
    ]
    count = operating.reopen(keys)
    AuditRecord.objects.bulk_create(
        AuditRecord(
            at=utc_now(),
            actor=actor,
            action="reopen",
            message_id=key.message_id,
            service=key.target,
        )
        for key in keys
    )
    return count


def _newest(rows: QuerySet[OutboxMessage]) -> QuerySet[OutboxMessage]:
    """Leave out what was replayed: only the newest generation of a copy counts."""
    newer = OutboxMessage.objects.filter(
        message_id=OuterRef("message_id"),
        target=OuterRef("target"),
        generation__gt=OuterRef("generation"),
    )
    return rows.filter(~Exists(newer))


def _lost(sent: QuerySet[OutboxMessage]) -> list[dict[str, Any]]:
    found = [
        _described(row, f"{row.target} had accepted it and knows nothing of it")
        for row in _lost_by_receivers(sent)
    ]
    found += [
        _described(row, f"parked by {row.target}, but there is no dead letter of it")
        for row in _parked_without_letter(sent)
    ]
    found += [
        _described(row, f"{row.target} counted other copies than there are")
        for row in _broadcasts_without_copies(sent)
    ]
    return found


def _lost_by_receivers(sent: QuerySet[OutboxMessage]) -> list[OutboxMessage]:
    """Return what was accepted and has no row at its receiver, as seen here or told by it."""
    received = InboxMessage.objects.filter(
        message_id=OuterRef("message_id"), service=OuterRef("target")
    )
    # A service with rows here has all of them here.
    is_here = InboxMessage.objects.filter(service=OuterRef("target"))
    forgotten = DedupHorizon.objects.filter(
        service=OuterRef("target"),
        source=OuterRef("source"),
        custody_purged_upto__gte=OuterRef("created_at"),
    )
    return list(
        sent.filter(state=OutboxState.ACCEPTED).filter(
            Q(reason=outbox.UNKNOWN) | (Exists(is_here) & ~Exists(received) & ~Exists(forgotten))
        )
    )


def _parked_without_letter(sent: QuerySet[OutboxMessage]) -> list[OutboxMessage]:
    letters = DeadLetter.objects.filter(
        message_id=OuterRef("message_id"), service=OuterRef("target")
    )
    suspects = sent.filter(state__in=(OutboxState.PARKED, OutboxState.EXPIRED)).filter(
        ~Exists(letters)
    )
    return [row for row in suspects if not _letter_is_on_its_way(row)]


def _letter_is_on_its_way(row: OutboxMessage) -> bool:
    is_here = InboxMessage.objects.filter(service=row.target).exists()
    if not is_here and row.settled_at and utc_now() - row.settled_at < LETTER_PATIENCE:
        return True  # its receipt was faster than its dead letter, from another database
    key = dead_letter_key(row.message_id, row.target, row.generation)
    return OutboxMessage.objects.filter(message_id=id_of(row.target, key), state__in=OPEN).exists()


def _broadcasts_without_copies(sent: QuerySet[OutboxMessage]) -> list[OutboxMessage]:
    made = {
        row["message_id"]: row["copies"]
        for row in InboxMessage.objects.filter(
            service=communicator.name, state=InboxState.HANDLED, copies__isnull=False
        ).values("message_id", "copies")
    }
    wrong = []
    for ids in _batches(list(made)):
        there = dict(
            OutboxMessage.objects.filter(message_id__in=ids)
            .exclude(target=communicator.name)
            .values_list("message_id")
            .order_by()
            .annotate(Count("target", distinct=True))
        )
        wrong += [message_id for message_id in ids if there.get(message_id, 0) < made[message_id]]
    return list(sent.filter(message_id__in=wrong, target=communicator.name))


def _batches(ids: list[str], size: int = 500) -> Iterable[list[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _where(row: OutboxMessage) -> str:
    if row.state == OutboxState.QUEUED:
        return f"waits in this database for those before it of ordering key {row.ordering_key!r}"
    if row.state == OutboxState.PENDING:
        return f"waits in this database to be published: {row.last_error or 'not yet due'}"
    if row.state == OutboxState.PUBLISHED:
        return f"on the broker, published {row.publishes} times; no word from {row.target} yet"
    return f"accepted by {row.target}, which has not come to an end with it"


def _described(row: OutboxMessage, where: str) -> dict[str, Any]:
    seen_at = row.told_at or row.published_at or row.created_at
    return {
        "id": row.message_id,
        "type": row.type,
        "source": row.source,
        "service": row.target,
        "state": row.state,
        "where": where,
        "seen_at": seen_at.isoformat(),
    }
