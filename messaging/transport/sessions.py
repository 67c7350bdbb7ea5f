"""Consuming connections: how others know that one lives, and what happens when it does not.

A session is alive while its process holds its lock byte, which the kernel drops with the process,
*and* while it is renewed, which a process does that runs (not one that is stopped or frozen).
"""

import os
import sqlite3
from collections.abc import Iterable

from messaging.errors import BrokerUnavailable
from messaging.transport import leases, statements
from messaging.transport.declarations import after_last_consumer, bump, drop_queue
from messaging.transport.errors import SessionLost
from messaging.transport.files import SESSION_BYTE
from messaging.transport.options import Options
from messaging.transport.store import Store
from messaging.transport.wakeup import WakeSocket


class Session:
    """One consuming connection of this process. Made by `Broker.start_session`."""

    def __init__(self, session_id: int, store: Store, options: Options) -> None:
        self.id = session_id
        self.store = store
        self.options = options
        #: Whether others have ended it, because it was not renewed in time.
        self.is_lost = False
        #: Whether it may have leases that its consumers do not know of.
        self.has_strays = False
        self.wakeups = WakeSocket(store.files, session_id)

    def check(self) -> None:
        """Raise SessionLost or BrokerUnavailable if this session can no longer be used."""
        if self.is_lost:
            raise self.lost()
        if self.store.retired:
            raise BrokerUnavailable(self.store.retired)

    def confirm(self, db: sqlite3.Connection) -> None:
        """Raise SessionLost unless the file still has this session. Fences claims, in 2 us."""
        if db.execute(statements.SESSION_EXISTS, {"session_id": self.id}).fetchone() is None:
            self.is_lost = True
            raise self.lost()

    def lost(self) -> SessionLost:
        """Return the error that says so."""
        return SessionLost(
            f"session {self.id} was not renewed for {self.options.lease_seconds:g} s; "
            "its messages have been or will be delivered again"
        )


def insert(db: sqlite3.Connection, lease_seconds: float, monotonic: float) -> int:
    """Add a session and return its id."""
    row = (os.getpid(), lease_seconds, monotonic + lease_seconds)
    inserted = db.execute(
        "INSERT INTO session (pid, lease_seconds, lease_expires_at) VALUES (?, ?, ?)", row
    )
    assert inserted.lastrowid is not None
    return inserted.lastrowid


def renew(db: sqlite3.Connection, session_id: int, monotonic: float) -> bool:
    """Move the end of a session's leases; return False if others have ended it."""
    return bool(
        db.execute(
            "UPDATE session SET lease_expires_at = ? + lease_seconds WHERE id = ?",
            (monotonic, session_id),
        ).rowcount
    )


def end(
    db: sqlite3.Connection, session_id: int, now: float, undelivered: Iterable[int] = ()
) -> set[int]:
    """``leased --> ready`` for all that a session held, and remove what was its own.

    Idempotent: of several who find a dead session, the second finds nothing.

    Args:
        db: the connection of the transaction.
        session_id: the session.
        now: seconds since 1970.
        undelivered: messages that no handler saw; they do not count as delivered.

    Returns:
        The queues that got messages back.
    """
    queue_ids = leases.requeue(db, session_id, undelivered, now, delivered=False)
    parameters = {"session_id": session_id}
    back = db.execute(statements.REQUEUE_SESSION, {**parameters, "now": now, "undo": 0})
    queue_ids.update(row[0] for row in back.fetchall())
    db.execute(statements.DELETE_SESSION_LEASES, parameters)
    _end_consumers(db, session_id, now)
    db.execute("DELETE FROM session WHERE id = ?", (session_id,))
    return queue_ids


def _end_consumers(db: sqlite3.Connection, session_id: int, now: float) -> None:
    owned = db.execute("SELECT id FROM queue WHERE owner = ?", (session_id,)).fetchall()
    for (queue_id,) in owned:
        drop_queue(db, queue_id)
    consumed = db.execute(
        "DELETE FROM consumer WHERE session_id = ? RETURNING queue_id", (session_id,)
    ).fetchall()
    if consumed:
        bump(db, "consumers")
    for queue_id in {row[0] for row in consumed}:
        after_last_consumer(db, queue_id, now)


def lock_byte(session_id: int) -> int:
    """Return which byte of the lock file says that a session's process lives."""
    return SESSION_BYTE + session_id
