"""What happens to a sent message's row, one function per change.

``pending --publish--> published --receipt--> accepted --receipt--> handled | parked | expired``;
a receipt may come at any time and skip states; ``resolve`` is an operator's. What has an ordering
key begins as ``queued``, see `custody.ordering`. What the broker has
lost is *pending* again where it is held, see `custody.held`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import F, QuerySet

from messaging import codec
from messaging.custody import hot, ordering
from messaging.custody.storing import insert
from messaging.database_threads import off_the_event_loop, write_transaction
from messaging.envelope import Envelope, MessagePriority, utc_now
from messaging.forking import without_fork
from messaging.models import UNDER_WAY, OutboxMessage, OutboxState
from messaging.text import storable

#: A relay that took a row and died lets go of it after this.
CLAIM_SECONDS: Final = 10.0
#: Pause before what a broker that is away could not take is tried again: long enough to be cheap,
#: short enough that nobody waits for it once the broker is back.
BROKER_AWAY_SECONDS: Final = 2.0
#: A message that its receiver has is asked after when its outcome has not come for so long.
ASK_SECONDS: Final = 600.0

#: `OutboxMessage.reason` of a message its receiver knows nothing of, though it had accepted it.
UNKNOWN: Final = "unknown to its receiver"

#: `MessagePriority` as a number, more urgent ones larger.
URGENCY: Final = {priority: number for number, priority in enumerate(MessagePriority)}


class Key(NamedTuple):
    """What identifies one copy of a message."""

    message_id: str
    target: str
    generation: int


@without_fork
def store(
    envelope: Envelope,
    *,
    to: str | None = None,
    body: str | None = None,
    delay_seconds: float = 0.0,
    error: str = "",
    under_custody: bool = False,
    held: bool = False,
    queued: bool = False,
) -> bool:
    """Answer for a message from now on, in the caller's transaction if there is one.

    Storing the same copy again changes nothing. May be called on an event loop's thread; it then
    commits by itself.

    Args:
        envelope: the message.
        to: the only service to get it; None: whoever the envelope names.
        body: its encoded form, where that is known already.
        delay_seconds: how long until a relay publishes it.
        error: why it is here, text for people.
        under_custody: keep it until the receiver has told the outcome.
        held: its target is down, and it waits here to be let out; see `custody.held`.
        queued: it waits for its turn in the sequence of its ordering key.

    Returns:
        Whether it is new: False where this copy was here already, as whoever stored it said it.

    Raises:
        PublishError: the database did not take it. NOT sent; safe to send again. Where the text
            says that the transaction is rolled back, so is all else that was done in it.
        PublishUncertain: the database's server has not answered. Maybe sent.
    """
    now = utc_now()
    target = envelope.target if to is None else to
    row = {
        "message_id": envelope.id,
        "target": target,
        "generation": envelope.generation,
        "source": envelope.source,
        "type": envelope.type,
        "kind": envelope.kind.value,
        "priority": envelope.priority.value,
        "urgency": URGENCY[envelope.priority],
        "ordering_key": envelope.ordering_key or "",
        "causation_id": envelope.causation_id or "",
        "created_at": now,
        "expires_at": envelope.expires_at,
        "envelope": body or codec.encode(envelope, None),
        "under_custody": under_custody,
        "state": (OutboxState.QUEUED if queued else OutboxState.PENDING).value,
        "due_at": None if queued else now + timedelta(seconds=delay_seconds),
        "publishes": 0,
        "failures": 0,
        "held_at": now if held else None,
        "last_error": storable(error),
        "reason": "",
    }
    turn = ordering.Sequence(target, envelope.ordering_key or "") if queued else None
    stored: list[bool] = []
    off_the_event_loop(lambda: stored.append(insert(row, turn)))
    return stored[0]


class Kept(NamedTuple):
    """A message as it is on record."""

    target: str
    #: The encoded envelope; empty once it is too old to be replayed.
    body: str
    state: str


@without_fork
def find(message_id: str) -> Kept | None:
    """Return what was first stored under an id; None if nothing is.

    For whoever sends under a dedup key: asked after sending, in the same transaction, it tells
    whether the key was used for something else. Only what is returned here is ever published.
    """
    row = (
        OutboxMessage.objects.filter(message_id=message_id)
        .order_by("pk")
        .values_list("target", "envelope", "state")
        .first()
    )
    return None if row is None else Kept(*row)


class Published(NamedTuple):
    """A copy that the broker has confirmed."""

    key: Key
    #: In which its publish began.
    epoch: str
    #: How long a receipt may take before somebody looks.
    wait_seconds: float


@without_fork
def mark_published(published: Iterable[Published]) -> None:
    """``pending --> published`` for what the broker has confirmed; idempotent.

    Rows that nobody waits for a receipt of go. A row published in an earlier epoch, whose copy
    the broker has lost since, is due at once.
    """
    published = list(published)
    if not published:
        return
    now = utc_now()
    with write_transaction(to_disk=False):
        # Inside the transaction: the epoch must not change between the look and the marks.
        current = epoch_now()
        rows = [
            {
                **key._asdict(),
                "now": now,
                "due_at": now + timedelta(seconds=wait_seconds if epoch == current else 0.0),
            }
            for key, epoch, wait_seconds in sorted(published)
        ]
        for row in rows:
            if not hot.MARK_PUBLISHED.run(row):
                hot.FORGET_PUBLISHED.run(row)


@without_fork
def epoch_now() -> str:
    """Return the present life of the broker's contents, as this database knows it."""
    row = hot.EPOCH.fetch({})
    return "" if row is None else str(row[0])


@without_fork
def postpone(keys: Iterable[Key], due_at: datetime, error: str = "", *, refused: bool) -> None:
    """Make open rows due at another instant, with the reason.

    Args:
        keys: whose rows.
        due_at: when to look again.
        error: text for people; empty leaves what is there.
        refused: whether the broker refused this very message, rather than everything.
    """
    in_order = sorted(keys)  # as all who change several rows: no two wait for each other
    if not in_order:
        return
    changes: dict[str, Any] = {"due_at": due_at}
    if error:
        changes["last_error"] = storable(error)
    if refused:
        changes["failures"] = F("failures") + 1
    with write_transaction(to_disk=False):
        for key in in_order:
            copy_of(key).filter(state__in=UNDER_WAY).update(**changes)


@without_fork
def accepted(key: Key) -> bool:
    """``pending | published --> accepted``: the receiver has it. Return whether that is news."""
    now = utc_now()
    return bool(
        copy_of(key)
        .filter(state__in=(OutboxState.PENDING, OutboxState.PUBLISHED))
        .update(
            state=OutboxState.ACCEPTED,
            told_at=now,
            due_at=now + timedelta(seconds=ASK_SECONDS),
            held_at=None,
            last_error="",
        )
    )


@without_fork
def settle(key: Key, outcome: str, reason: str = "") -> bool:
    """``open --> handled | parked | expired``: the receiver's word. Return if it was open."""
    values = {
        **key._asdict(),
        "outcome": str(outcome),
        "now": utc_now(),
        "reason": storable(reason),
    }
    return settle_bound(values)


def settle_bound(values: Mapping[str, Any]) -> bool:
    """Do as `settle`, with values as `hot.SETTLE` takes them."""
    row = hot.SETTLE.fetch(values)
    if row is None:
        return False
    if row[0]:
        ordering.ended(ordering.Sequence(values["target"], row[0]))
    return True


@without_fork
def note_unknown(key: Key) -> None:
    """Note that the receiver has lost a message it had accepted; `reopen` sends it again."""
    copy_of(key).filter(state=OutboxState.ACCEPTED).update(reason=UNKNOWN)


@without_fork
def all_lost_by_the_broker() -> int:
    """Make all that was published and not received due at once: the broker came back empty."""
    return OutboxMessage.objects.filter(state=OutboxState.PUBLISHED).update(
        due_at=utc_now(), first_published_at=None
    )


@without_fork
def published_since(instant: datetime) -> int:
    """Make what was published after an instant due at once: a reconnect may have lost it."""
    return OutboxMessage.objects.filter(
        state=OutboxState.PUBLISHED, due_at__isnull=False, published_at__gte=instant
    ).update(due_at=utc_now())


@without_fork
def purge(settled_before: datetime, limit: int) -> int:
    """Delete rows whose outcome is old, a batch at a time; return how many."""
    old = (
        OutboxMessage.objects.filter(settled_at__lt=settled_before)
        .order_by("settled_at")
        .values_list("pk", flat=True)[:limit]
    )
    return OutboxMessage.objects.filter(pk__in=list(old)).delete()[0]


def copy_of(key: Key) -> QuerySet[OutboxMessage]:
    """Return the row of one copy, as a query to narrow and change."""
    return OutboxMessage.objects.filter(
        message_id=key.message_id, target=key.target, generation=key.generation
    )
