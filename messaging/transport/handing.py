"""Messages that are leased as they are stored, to a consumer that waits for them.

Where a queue is empty and one of its consumers has room, the publisher claims on its behalf, in
the transaction that stores the message, and sends the message along with the wake-up. That saves
the consumer a transaction before it can begin. The file has the message and the lease as ever: of
a consumer that dies it comes back; a message whose datagram got lost is a *stray*, which its
session finds and gives back.
"""

import sqlite3
from collections.abc import Callable
from typing import Final, NamedTuple

from messaging.transport import statements
from messaging.transport.messages import Outgoing, handed_over
from messaging.transport.sessions import Session
from messaging.transport.store import Store
from messaging.transport.wakeup import LARGEST_DATAGRAM

#: A lease that nobody knows of for so long is a stray.
LOST_AFTER_SECONDS: Final = 1.0
#: A message with more takers than this is left for them to claim.
MOST_TAKERS: Final = 8


class Handed(NamedTuple):
    """A message that its consumer has a lease on, and does not know of yet."""

    session_id: int
    message_id: int
    datagram: bytes


def taker_of(db: sqlite3.Connection, queue_id: int) -> int | None:
    """Return the session to lease the next message of a queue to; None: it has to wait.

    In the transaction that stores the message. Nobody is passed over: not where others wait in the
    queue, and among consumers the one with the fewest leases is chosen.
    """
    row = db.execute(statements.TAKER, {"queue_id": queue_id}).fetchone()
    return None if row is None else int(row[0])


def datagram_of(message: Outgoing, queue_id: int, message_id: int, now: float) -> bytes | None:
    """Return the datagram that hands a message over; None if it is too large for one."""
    if len(message.body) + len(message.props) > LARGEST_DATAGRAM:
        return None
    datagram = handed_over(message, queue_id, now, message_id)
    return datagram if len(datagram) <= LARGEST_DATAGRAM else None


def set_room(db: sqlite3.Connection, queue_id: int, session_id: int, tag: str, room: int) -> None:
    """Change up to how many leases a consumer may be handed messages."""
    # Caches know only whether there is any, which does not change after the first time.
    db.execute(
        "UPDATE consumer SET room = ? WHERE queue_id = ? AND session_id = ? AND tag = ?",
        (room, queue_id, session_id, tag),
    )


class Strays:
    """Finds leases of a session that its consumers were not told of. For the draining thread.

    Args:
        store: the file.
        known: returns the ids of all messages that are held or being settled.
    """

    def __init__(self, store: Store, known: Callable[[], set[int]]) -> None:
        self._store = store
        self._known = known
        self._seen: set[int] = set()
        self._looked_at = 0.0

    def look(self, session: Session) -> set[int]:
        """Look, once a second; return messages to give back.

        Believed only when seen twice: their publisher may be about to hand them over.
        """
        now = self._store.clock.monotonic()
        if session.is_lost:
            return set()
        if now - self._looked_at < LOST_AFTER_SECONDS:
            session.has_strays = True  # perhaps: have the keeper wake this session
            return set()
        self._looked_at = now
        with self._store.connection() as db:
            strays = self.among(db, session.id)
        lost, self._seen = strays & self._seen, strays
        session.has_strays = bool(strays)
        return lost

    def among(self, db: sqlite3.Connection, session_id: int) -> set[int]:
        """Return the session's leases that nobody here knows of now."""
        rows = db.execute(statements.SESSION_LEASES, {"session_id": session_id}).fetchall()
        return {row[0] for row in rows} - self._known()
