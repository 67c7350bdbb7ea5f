"""Queues, exchanges and bindings in the file. Each function runs inside a transaction.

What changes routing bumps ``meta.topology``, what changes who waits ``meta.consumers``: caches of
all processes look at them (see `routing`). These statements are rare; they are plain SQL.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from messaging.transport.errors import NotFound, PreconditionFailed, ResourceLocked
from messaging.transport.routing import EXCHANGE_TYPES

#: Queue arguments that are kept; kombu writes them in milliseconds, as RabbitMQ does.
_ARGUMENTS: Final = {
    "x-expires": "expires_ms",
    "x-message-ttl": "message_ttl_ms",
    "x-max-priority": "max_priority",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A queue as the file has it."""

    id: int
    durable: bool
    auto_delete: bool
    #: Session that owns an exclusive queue.
    owner: int | None
    expires_ms: int | None
    message_ttl_ms: int | None
    max_priority: int | None

    @property
    def dies_with_consumer(self) -> bool:
        """Whether nobody else will ever read what its consumer did not."""
        return self.auto_delete or self.owner is not None


def find_queue(db: sqlite3.Connection, name: str, session_id: int | None) -> QueueRow:
    """Return a queue that this session may use.

    Raises:
        NotFound: no such queue.
        ResourceLocked: exclusive to another session.
    """
    row = db.execute(
        "SELECT id, durable, auto_delete, owner, expires_ms, message_ttl_ms, max_priority"
        " FROM queue WHERE name = ?",
        (name,),
    ).fetchone()
    if row is None:
        raise NotFound(f"NOT_FOUND - no queue {name!r}")
    found = QueueRow(
        id=row[0],
        durable=bool(row[1]),
        auto_delete=bool(row[2]),
        owner=row[3],
        expires_ms=row[4],
        message_ttl_ms=row[5],
        max_priority=row[6],
    )
    if found.owner is not None and found.owner != session_id:
        raise ResourceLocked(
            f"RESOURCE_LOCKED - queue {name!r} is exclusive to another connection"
        )
    return found


def declare_queue(
    db: sqlite3.Connection,
    name: str,
    *,
    durable: bool,
    auto_delete: bool,
    arguments: Mapping[str, Any],
    owner: int | None,
    session_id: int | None,
    now: float,
) -> int:
    """Make sure of a queue and return its id; a second declaration counts as use.

    Raises:
        PreconditionFailed: it exists with other arguments.
        ResourceLocked: exclusive to another session.
    """
    wanted = {column: arguments.get(name) for name, column in _ARGUMENTS.items()}
    wanted["durable"] = durable
    try:
        found = find_queue(db, name, session_id)
    except NotFound:
        bump(db, "topology")
        return _insert_queue(db, name, auto_delete, owner, wanted, now)
    for key, value in wanted.items():
        if getattr(found, key) != value:
            raise PreconditionFailed(
                f"PRECONDITION_FAILED - queue {name!r}: {key} is {getattr(found, key)!r}, "
                f"declared as {value!r}"
            )
    touch_queue(db, found.id, now)
    return found.id


def _insert_queue(
    db: sqlite3.Connection,
    name: str,
    auto_delete: bool,
    owner: int | None,
    wanted: Mapping[str, Any],
    now: float,
) -> int:
    row = {"name": name, "auto_delete": auto_delete, "owner": owner, "last_used_at": now, **wanted}
    inserted = db.execute(
        "INSERT INTO queue (name, durable, auto_delete, owner, expires_ms, message_ttl_ms,"
        " max_priority, last_used_at) VALUES (:name, :durable, :auto_delete, :owner, :expires_ms,"
        " :message_ttl_ms, :max_priority, :last_used_at)",
        row,
    )
    assert inserted.lastrowid is not None
    return inserted.lastrowid


def touch_queue(db: sqlite3.Connection, queue_id: int, now: float) -> None:
    """Count this as use of a queue that expires when unused."""
    db.execute(
        "UPDATE queue SET last_used_at = ? WHERE id = ? AND expires_ms IS NOT NULL",
        (now, queue_id),
    )


def drop_queue(db: sqlite3.Connection, queue_id: int) -> None:
    """Delete a queue in constant time; its messages are swept later (see `maintenance`)."""
    db.execute(
        "UPDATE exchange SET version = version + 1"
        " WHERE name IN (SELECT exchange FROM binding WHERE queue_id = ?)",
        (queue_id,),
    )
    for table in ("binding", "consumer"):
        db.execute(f"DELETE FROM {table} WHERE queue_id = ?", (queue_id,))
    db.execute("DELETE FROM queue WHERE id = ?", (queue_id,))
    db.execute("INSERT OR IGNORE INTO dropped VALUES (?)", (queue_id,))
    bump(db, "topology")
    bump(db, "consumers")


def count_ready(db: sqlite3.Connection, queue_id: int) -> int:
    """Return how many messages wait in a queue. Takes time in proportion to them."""
    return int(
        db.execute("SELECT count(*) FROM ready WHERE queue_id = ?", (queue_id,)).fetchone()[0]
    )


def count_consumers(db: sqlite3.Connection, queue_id: int) -> int:
    """Return how many consumers a queue has, in all processes."""
    return int(
        db.execute("SELECT count(*) FROM consumer WHERE queue_id = ?", (queue_id,)).fetchone()[0]
    )


def purge(db: sqlite3.Connection, queue_id: int, before_id: int, limit: int) -> int:
    """Delete up to limit waiting messages with ids below before_id; return how many."""
    rows = db.execute(
        "DELETE FROM ready WHERE queue_id = :queue AND (prio, id) IN (SELECT prio, id FROM ready"
        " WHERE queue_id = :queue AND id < :before LIMIT :limit) RETURNING id",
        {"queue": queue_id, "before": before_id, "limit": limit},
    ).fetchall()
    db.executemany("DELETE FROM message WHERE id = ?", rows)
    return len(rows)


def sessions_of(db: sqlite3.Connection, queue_id: int) -> list[int]:
    """Return the sessions that consume from a queue."""
    rows = db.execute("SELECT session_id FROM consumer WHERE queue_id = ?", (queue_id,)).fetchall()
    return [row[0] for row in rows]


def add_consumer(
    db: sqlite3.Connection, queue_id: int, session_id: int, tag: str, *, takes: bool, room: int
) -> None:
    """Note that a session waits for messages of a queue.

    Args:
        db: the connection of the transaction.
        queue_id: the queue.
        session_id: the session.
        tag: its consumer's.
        takes: whether it takes without a lease.
        room: up to how many leases it may be handed messages.
    """
    row = queue_id, session_id, tag, takes, room
    db.execute(
        "INSERT INTO consumer (queue_id, session_id, tag, takes, room) VALUES (?, ?, ?, ?, ?)", row
    )
    bump(db, "consumers")


def remove_consumer(
    db: sqlite3.Connection, queue_id: int, session_id: int, tag: str, now: float
) -> None:
    """Undo `add_consumer`; an ``auto_delete`` queue goes with its last consumer."""
    db.execute(
        "DELETE FROM consumer WHERE queue_id = ? AND session_id = ? AND tag = ?",
        (queue_id, session_id, tag),
    )
    bump(db, "consumers")
    after_last_consumer(db, queue_id, now)


def after_last_consumer(db: sqlite3.Connection, queue_id: int, now: float) -> None:
    """Drop an ``auto_delete`` queue that has no consumer left; else count this as use."""
    if count_consumers(db, queue_id):
        return
    row = db.execute("SELECT auto_delete FROM queue WHERE id = ?", (queue_id,)).fetchone()
    if row is not None and row[0]:
        drop_queue(db, queue_id)
    else:
        touch_queue(db, queue_id, now)


def declare_exchange(db: sqlite3.Connection, name: str, kind: str, *, durable: bool) -> None:
    """Make sure of an exchange.

    Raises:
        PreconditionFailed: it exists with another type or durability, or there is no such type.
    """
    if kind not in EXCHANGE_TYPES:
        raise PreconditionFailed(f"PRECONDITION_FAILED - exchange type {kind!r} is not supported")
    try:
        found = exchange_row(db, name)
    except NotFound:
        db.execute("INSERT INTO exchange VALUES (?, ?, ?, 1)", (name, kind, durable))
        bump(db, "topology")
    else:
        if found != (kind, durable):
            raise PreconditionFailed(
                f"PRECONDITION_FAILED - exchange {name!r}: type and durable are {found!r}, "
                f"declared as {(kind, durable)!r}"
            )


def exchange_row(db: sqlite3.Connection, name: str) -> tuple[str, bool]:
    """Return type and durability of an exchange.

    Raises:
        NotFound: no such exchange.
    """
    row = db.execute("SELECT type, durable FROM exchange WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFound(f"NOT_FOUND - no exchange {name!r}")
    return row[0], bool(row[1])


def drop_exchange(db: sqlite3.Connection, name: str, *, if_unused: bool) -> None:
    """Delete an exchange and its bindings; nothing happens if there is none.

    Raises:
        PreconditionFailed: if_unused, and queues are bound to it.
    """
    bound = db.execute("SELECT 1 FROM binding WHERE exchange = ? LIMIT 1", (name,)).fetchone()
    if if_unused and bound:
        raise PreconditionFailed(f"PRECONDITION_FAILED - exchange {name!r} is in use")
    db.execute("DELETE FROM binding WHERE exchange = ?", (name,))
    db.execute("DELETE FROM exchange WHERE name = ?", (name,))
    bump(db, "topology")


def bind(db: sqlite3.Connection, exchange: str, routing_key: str, queue_id: int) -> None:
    """Have an exchange route a key or pattern to a queue. Idempotent.

    Raises:
        NotFound: no such exchange.
    """
    exchange_row(db, exchange)
    inserted = db.execute(
        "INSERT OR IGNORE INTO binding VALUES (?, ?, ?)", (exchange, routing_key, queue_id)
    )
    if inserted.rowcount:
        _changed(db, exchange)


def unbind(db: sqlite3.Connection, exchange: str, routing_key: str, queue_id: int) -> None:
    """Undo `bind`. Idempotent."""
    deleted = db.execute(
        "DELETE FROM binding WHERE exchange = ? AND routing_key = ? AND queue_id = ?",
        (exchange, routing_key, queue_id),
    )
    if deleted.rowcount:
        _changed(db, exchange)


def _changed(db: sqlite3.Connection, exchange: str) -> None:
    db.execute("UPDATE exchange SET version = version + 1 WHERE name = ?", (exchange,))
    bump(db, "topology")


def bump(db: sqlite3.Connection, counter: str) -> None:
    """Tell the caches of all processes that ``topology`` or ``consumers`` changed."""
    db.execute(f"UPDATE meta SET {counter} = {counter} + 1")
