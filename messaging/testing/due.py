"""When the database has something to do next, in one query: it is asked after every step."""

from typing import Any, Final, NamedTuple

from messaging.custody.sql import Statement, instant
from messaging.models import InboxMessage, OutboxMessage

_OUTBOX: Final = OutboxMessage._meta.db_table
_INBOX: Final = InboxMessage._meta.db_table
#: What only the broker has is nobody's to publish; see `custody.schedule.seconds_until_due`.
_LOOK: Final = Statement(
    f"SELECT (SELECT MIN(due_at) FROM {_OUTBOX}), "
    f"(SELECT MIN(due_at) FROM {_INBOX} WHERE NOT (envelope = '' AND state = 'ready')), "
    f"(SELECT COUNT(*) FROM {_INBOX} WHERE owes_receipt)"
)


class Due(NamedTuple):
    """What a relay would find; instants in seconds since 1970, None: no row ever falls due."""

    outbox_at: float | None
    inbox_at: float | None
    #: Whether a receipt is owed.
    owes_receipts: bool

    @property
    def first_at(self) -> float | None:
        """When the first row falls due."""
        return min((at for at in self[:2] if at is not None), default=None)


def look() -> Due:
    """Return when the relay has something to do."""
    row = _LOOK.fetch({})
    assert row is not None
    outbox, inbox, owed = row
    return Due(_seconds(outbox), _seconds(inbox), bool(owed))


def _seconds(value: Any) -> float | None:
    found = instant(value)
    return None if found is None else found.timestamp()
