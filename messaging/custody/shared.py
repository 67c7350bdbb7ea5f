"""Where sender and receiver have one database, the rows of both tell each other: no receipts.

Nothing is configured: the other row is there, or it is not.
"""

from messaging.custody import outbox
from messaging.custody.outbox import Key
from messaging.forking import without_fork
from messaging.models import UNENDED, InboxMessage, InboxState


@without_fork
def note_received(key: Key) -> bool:
    """Mark a sent message as its receiver's row has it; return whether there is one.

    Called before a message is published again: if it has arrived, another copy helps nobody.
    """
    row = (
        InboxMessage.objects.filter(message_id=key.message_id, service=key.target)
        .only("generation", "state", "last_error")
        .first()
    )
    if row is None or row.generation < key.generation:
        return False
    if row.generation > key.generation:
        outbox.settle(key, InboxState.PARKED)  # only what was given up is ever replayed
    elif row.state in UNENDED:
        outbox.accepted(key)
    else:
        outbox.settle(key, row.state, row.last_error)
    return True
