"""What operators do with rows of the outbox. They put it on record, see `gateway_app.ledger`."""

from collections.abc import Sequence

from django.db.models import Q

from messaging.custody import ordering
from messaging.custody.outbox import Key, copy_of
from messaging.database_threads import write_transaction
from messaging.envelope import utc_now
from messaging.forking import without_fork
from messaging.models import OPEN, OutboxMessage, OutboxState
from messaging.text import storable


@without_fork
def resolve(rows: Q, reason: str) -> int:
    """``open --> resolved``, by an operator. Return how many."""
    found = OutboxMessage.objects.filter(rows, state__in=OPEN)
    with write_transaction():
        ordered = found.filter(ordering_key__gt="").values_list("target", "ordering_key")
        for sequence in set(ordered):
            ordering.ended(ordering.Sequence(*sequence))
        return found.update(
            state=OutboxState.RESOLVED,
            due_at=None,
            held_at=None,
            settled_at=utc_now(),
            reason=storable(reason),
        )


@without_fork
def reopen(keys: Sequence[Key]) -> int:
    """``accepted --> pending`` for what the receiver has lost. Safe: its inbox guards it."""
    changed = 0
    for key in sorted(keys):
        changed += (
            copy_of(key)
            .filter(state=OutboxState.ACCEPTED)
            .update(state=OutboxState.PENDING, due_at=utc_now(), reason="", told_at=None)
        )
    return changed
