"""The sender's own record of CRITICAL messages, seen from outside: when all of it is settled."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from messaging.clock import SYSTEM_CLOCK
from tests.bench.measurement import Failed

_POLL_SECONDS: Final = 0.02
#: Rows are settled in about the order in which they came: whoever looks goes on from the first
#: that was open last time, and reads few.
_FIRST_OPEN: Final = (
    "SELECT id, state FROM messaging_outboxmessage"
    " WHERE id >= ? AND under_custody = 1 AND state <> 'handled' ORDER BY id LIMIT 1"
)


class Ledger:
    """The outbox of a database, from a moment on.

    Args:
        database: of the sender; rows that it has now are of no interest.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        with closing(sqlite3.connect(database)) as db:
            query = "SELECT coalesce(max(id), 0) FROM messaging_outboxmessage"
            self._after: int = db.execute(query).fetchone()[0]

    def wait_settled(self, timeout_seconds: float) -> int:
        """Return when all was handled and its receipts were applied (CLOCK_MONOTONIC in ns).

        Raises:
            Failed: not in time.
        """
        ends_at = SYSTEM_CLOCK.monotonic() + timeout_seconds
        position = self._after + 1
        with closing(sqlite3.connect(self._database, timeout=30)) as db:
            while row := db.execute(_FIRST_OPEN, (position,)).fetchone():
                if SYSTEM_CLOCK.monotonic() > ends_at:
                    raise Failed(f"not settled: outbox row {row[0]} is {row[1]!r}")
                position = row[0]
                SYSTEM_CLOCK.sleep(_POLL_SECONDS)
        return int(SYSTEM_CLOCK.monotonic() * 1e9)
