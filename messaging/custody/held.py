"""Holding: what waits in the outbox because its target serves nobody, instead of on the broker.

``pending --hold--> pending, held --let out--> pending, due``; what was published and is lost is
*pending* again when it is held. A held row is due as well, later: should nobody let it out, a
relay finds it then, and publishes it or holds it again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from messaging.custody.due import DueMessage
from messaging.custody.sql import Statement
from messaging.database_threads import write_transaction
from messaging.forking import without_fork
from messaging.models import OutboxMessage

#: When a held row falls due all the same: no row can be forgotten.
HOLD_SECONDS: Final = 600.0
#: What has been held for longer waits again for as long, up to this: looking at it costs.
LONGEST_HOLD_SECONDS: Final = 3600.0

_OUTBOX: Final = OutboxMessage._meta.db_table
_HOLD: Final = Statement(
    f"UPDATE {_OUTBOX} SET state = 'pending', held_at = COALESCE(held_at, %(now)s), "
    "due_at = %(due_at)s, last_error = %(why)s WHERE id = %(row_id)s "
    # Not if somebody has published it since it was claimed: then the broker has it.
    "AND state IN ('pending', 'published') AND publishes = %(publishes)s"
)
#: Rows of one transaction: SQLite writes each anew with its body, and has one writer at a time.
LET_OUT_AT_ONCE: Final = 200
#: Jumps from target to target in the index, however many rows each has.
_NEXT_TARGET: Final = Statement(
    f"SELECT target FROM {_OUTBOX} WHERE held_at IS NOT NULL AND target > %(target)s "
    "ORDER BY target LIMIT 1"
)


def _let_out(lock: str) -> Statement:
    return Statement(
        f"UPDATE {_OUTBOX} SET held_at = NULL, due_at = %(now)s, last_error = '' "
        f"WHERE id IN (SELECT id FROM {_OUTBOX} "
        "WHERE target = %(target)s AND held_at IS NOT NULL "
        f"ORDER BY urgency DESC, id LIMIT %(limit)s {lock})"
    )


_LET_OUT: Final = _let_out("")
#: Past those that a relay is looking at just now.
_LET_OUT_SKIPPING: Final = _let_out("FOR UPDATE SKIP LOCKED")


def why(target: str) -> str:
    """Return what a held row says of itself, text for people."""
    return f"held: {target} is down"


@without_fork
def hold(rows: Sequence[DueMessage], now: datetime) -> None:
    """``pending | published --> pending, held``: what a relay would publish now, to who is down.

    What has been published since it was claimed stays as it is. Safe to repeat.
    """
    if not rows:
        return
    with write_transaction(to_disk=False):
        # By key, as everybody who changes several rows: no two wait for each other.
        for row in sorted(rows, key=lambda row: row.key):
            since = now if row.held_at is None else row.held_at
            seconds = max(HOLD_SECONDS, (now - since).total_seconds())
            _HOLD.run(
                {
                    "row_id": row.row_id,
                    "publishes": row.publishes,
                    "now": now,
                    "due_at": now + timedelta(seconds=min(seconds, LONGEST_HOLD_SECONDS)),
                    "why": why(row.key.target),
                }
            )


@without_fork
def targets() -> list[str]:
    """Return the services for which something is held, sorted; one short query for each."""
    found: list[str] = []
    while (row := _NEXT_TARGET.fetch({"target": found[-1] if found else ""})) is not None:
        found.append(row[0])
    return found


@without_fork
def let_out(target: str, limit: int, now: datetime) -> int:
    """``pending, held --> pending, due``: the most urgent first, the oldest of them first.

    All are due at the same instant, so that relays claim them in this order, and before what is
    let out later. `LET_OUT_AT_ONCE` in one transaction, so that others can write in between:
    what was let out before an error stays so. Safe to repeat.

    Args:
        target: the service that serves again.
        limit: most rows.
        now: when they are due.

    Returns:
        How many.
    """
    statement = _LET_OUT_SKIPPING if connection.vendor == "postgresql" else _LET_OUT
    count = 0
    while count < limit:
        wanted = min(LET_OUT_AT_ONCE, limit - count)
        with write_transaction(to_disk=False):
            found = statement.run({"target": target, "limit": wanted, "now": now})
        count += found
        if found < wanted:
            break
    return count
