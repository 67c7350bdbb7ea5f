"""What happens to a stored message: claim, ack, requeue, promote. Each runs in a transaction.

``ready --claim--> leased --ack--> (deleted)``; ``leased --requeue--> ready``;
``delayed --promote--> ready``. A lease is touched only by the session that holds it.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from messaging.transport import statements
from messaging.transport.messages import Incoming


class Claimed(NamedTuple):
    """A message that a session has a lease on."""

    id: int
    #: Deliveries before this one.
    attempts: int


def claim(db: sqlite3.Connection, queue_id: int, session_id: int, limit: int) -> list[Claimed]:
    """``ready --> leased``: the most urgent messages first, the oldest first among equals."""
    parameters = {"queue_id": queue_id, "limit": limit}
    rows = sorted(db.execute(statements.CLAIM, parameters).fetchall())
    db.executemany(
        statements.INSERT_LEASE,
        [
            {
                "id": message_id,
                "session_id": session_id,
                "queue_id": queue_id,
                "prio": prio,
                "attempts": attempts + 1,
            }
            for prio, message_id, attempts in rows
        ],
    )
    return [Claimed(message_id, attempts) for _, message_id, attempts in rows]


def read(db: sqlite3.Connection, claimed: Sequence[Claimed]) -> list[Incoming]:
    """Return claimed messages in the order claimed. They never change: no transaction needed."""
    return _in_order(db, statements.READ_MESSAGES, claimed)


def take(db: sqlite3.Connection, queue_id: int, limit: int) -> list[Incoming]:
    """``ready --> (deleted)``: claim without a lease, for those who do not acknowledge."""
    parameters = {"queue_id": queue_id, "limit": limit}
    rows = sorted(db.execute(statements.CLAIM, parameters).fetchall())
    claimed = [Claimed(message_id, attempts) for _, message_id, attempts in rows]
    return _in_order(db, statements.TAKE_MESSAGES, claimed)


def _in_order(
    db: sqlite3.Connection, statement: str, claimed: Sequence[Claimed]
) -> list[Incoming]:
    ids = json.dumps([message.id for message in claimed])
    rows = {row[0]: row[1:] for row in db.execute(statement, {"ids": ids}).fetchall()}
    # A message can be missing: its queue was deleted in between.
    return [
        Incoming(message.id, message.attempts, *rows[message.id])
        for message in claimed
        if message.id in rows
    ]


def acknowledge(db: sqlite3.Connection, session_id: int, ids: Iterable[int]) -> list[int]:
    """``leased --> (deleted)``. Return those that this session has no lease on."""
    lost: list[int] = []
    done: list[int] = []
    for message_id in ids:
        parameters = {"message_id": message_id, "session_id": session_id}
        held = db.execute(statements.DELETE_LEASE, parameters).rowcount
        (done if held else lost).append(message_id)
    db.executemany(statements.DELETE_MESSAGE, [{"message_id": done_id} for done_id in done])
    return lost


def requeue(
    db: sqlite3.Connection, session_id: int, ids: Iterable[int], now: float, *, delivered: bool
) -> set[int]:
    """``leased --> ready``, under the old id: in front of what was sent later.

    Args:
        db: the connection of the transaction.
        session_id: whose leases.
        ids: messages; those this session has no lease on are left alone.
        now: seconds since 1970.
        delivered: whether a handler saw them, so that this counts as a delivery.

    Returns:
        The queues they went to.
    """
    queue_ids: set[int] = set()
    for message_id in ids:
        parameters = {"message_id": message_id, "session_id": session_id}
        back = {**parameters, "now": now, "undo": 0 if delivered else 1}
        queue_ids.update(row[0] for row in db.execute(statements.REQUEUE, back).fetchall())
        db.execute(statements.DELETE_LEASE, parameters)
    return queue_ids


def promote(db: sqlite3.Connection, now: float, limit: int) -> set[int]:
    """``delayed --> ready`` for what is due. Return the queues."""
    rows = db.execute(statements.TAKE_DUE, {"now": now, "limit": limit}).fetchall()
    db.executemany(
        statements.INSERT_READY,
        [
            {"id": message_id, "queue_id": queue_id, "prio": prio, "attempts": 0, "at": now}
            for message_id, queue_id, prio in rows
        ],
    )
    return {queue_id for _, queue_id, _ in rows}
