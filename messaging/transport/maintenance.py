"""The sweeps over a broker file: age, expire, collect, shrink. Each is bounded and has a reason.

One process sweeps at a time (a lock byte); if two did, the second would find nothing. Batches
keep each hold of the write lock to a few milliseconds. None of them scans a table: every one
looks at the head of an index.
"""

import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final

from messaging.transport.declarations import drop_queue
from messaging.transport.declarations import purge as purge_some
from messaging.transport.files import JANITOR_BYTE
from messaging.transport.messages import MOST_URGENT
from messaging.transport.options import Options
from messaging.transport.store import Store

#: Rows changed in one transaction: about 3 ms.
BATCH: Final = 500
#: Transactions of one sweep in one pass: a flood of expired events is gone in seconds, and the
#: other sweeps still get their turn.
_BATCHES_PER_PASS: Final = 20
#: Ageing lifts a message up to here: below 7, the level of CRITICAL, always.
_HIGHEST_AGED_PRIORITY: Final = 6
#: Ageing looks this often in one period.
_LOOKS_PER_PERIOD: Final = 10
#: Messages purged in one transaction: about 30 ms of the write lock.
_PURGED_AT_ONCE: Final = 2000
#: Free pages (of 4 KB) that are kept for the next messages.
_SPARE_PAGES: Final = 1000
#: Pages given back to the file system in one transaction: about 5 ms.
_VACUUMED_AT_ONCE: Final = 500


class Maintenance:
    """All sweeps, for the thread that calls `sweep`."""

    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._options = options
        self._age_at = 0.0

    def sweep(self) -> None:
        """Sweep, unless another process or thread is doing so.

        Raises:
            BrokerBusy, BrokerUnavailable: what was left is swept next time.
        """
        # The byte keeps other processes out, the lock other threads of this one.
        if not _sweeping.acquire(blocking=False):
            return
        try:
            if self._store.live.try_lock(JANITOR_BYTE):
                try:
                    self._sweep_all()
                finally:
                    self._store.live.unlock(JANITOR_BYTE)
        finally:
            _sweeping.release()

    def _sweep_all(self) -> None:
        wall = self._store.clock.now()
        self._repeat(lambda db: expire_messages(db, wall), self._has_expired(wall))
        self._repeat(lambda db: expire_queues(db, wall), self._has_unused(wall))
        self._repeat(collect_dropped, self._any("SELECT 1 FROM dropped LIMIT 1"))
        self._repeat(
            shrink, lambda: self._store.read("PRAGMA freelist_count")[0][0] > _SPARE_PAGES
        )
        monotonic = self._store.clock.monotonic()
        if self._options.ageing_seconds and monotonic >= self._age_at:
            period = self._options.ageing_seconds
            self._age_at = monotonic + period / _LOOKS_PER_PERIOD
            for (queue_id,) in self._store.read(_MIXED_QUEUES):
                with self._transaction() as db:
                    age_messages(db, queue_id, wall, period)

    def _repeat(
        self, batch: Callable[[sqlite3.Connection], int], is_due: Callable[[], bool]
    ) -> None:
        """Run batches, each in its own transaction, while there is work; none if there is none."""
        for _ in range(_BATCHES_PER_PASS):
            if not is_due():
                return
            with self._transaction() as db:
                if not batch(db):
                    return

    def _has_expired(self, now: float) -> Callable[[], bool]:
        return self._any(f"SELECT 1 FROM ({_EXPIRED})", now=now, limit=1)

    def _has_unused(self, now: float) -> Callable[[], bool]:
        return self._any(f"SELECT 1 FROM ({_UNUSED})", now=now, limit=1)

    def _any(self, query: str, **parameters: Any) -> Callable[[], bool]:
        return lambda: bool(self._store.read(query, parameters))

    def _transaction(self) -> Any:
        return self._store.transaction(busy_seconds=self._options.busy_seconds)


#: One thread of this process at a time; see `Maintenance.sweep`.
_sweeping = threading.Lock()

#: Expired messages that nobody holds; who holds one may still settle it.
_EXPIRED: Final = (
    "SELECT id, queue_id FROM message WHERE expires_at <= :now"
    " AND NOT EXISTS (SELECT 1 FROM lease WHERE lease.id = message.id) LIMIT :limit"
)
_UNUSED: Final = (
    "SELECT id FROM queue WHERE expires_ms IS NOT NULL"
    " AND last_used_at + expires_ms / 1000.0 <= :now"
    " AND NOT EXISTS (SELECT 1 FROM consumer WHERE queue_id = queue.id) LIMIT :limit"
)
#: Queues where something waits behind something more urgent: two looks into the index for each.
_MIXED_QUEUES: Final = (
    "SELECT id FROM queue WHERE (SELECT min(prio) FROM ready WHERE queue_id = queue.id)"
    " < (SELECT max(prio) FROM ready WHERE queue_id = queue.id)"
)


def expire_messages(db: sqlite3.Connection, now: float) -> int:
    """``ready | delayed --expire--> (deleted)`` for up to `BATCH`; return how many."""
    rows = db.execute(_EXPIRED, {"now": now, "limit": BATCH}).fetchall()
    levels = ", ".join(map(str, range(MOST_URGENT + 1)))
    # Its level is not known (ageing moves it), but there are only ten: ten looks by key.
    db.executemany(f"DELETE FROM ready WHERE id = ? AND queue_id = ? AND prio IN ({levels})", rows)
    db.executemany("DELETE FROM message WHERE id = ?", [row[:1] for row in rows])
    return len(rows)


def expire_queues(db: sqlite3.Connection, now: float) -> int:
    """Drop queues that nobody used for their ``x-expires``; return how many."""
    rows = db.execute(_UNUSED, {"now": now, "limit": BATCH}).fetchall()
    for (queue_id,) in rows:
        drop_queue(db, queue_id)
    return len(rows)


def collect_dropped(db: sqlite3.Connection) -> int:
    """Delete up to `BATCH` messages of one dropped queue; return 0 when no such queue is left."""
    row = db.execute("SELECT queue_id FROM dropped LIMIT 1").fetchone()
    if row is None:
        return 0
    (queue_id,) = row
    for table, key in (
        ("ready", "queue_id, prio, id"),
        ("delayed", "due_at, id"),
        ("lease", "id"),
    ):
        found = db.execute(
            f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table}"
            " WHERE queue_id = ? LIMIT ?) RETURNING id",
            (queue_id, BATCH),
        ).fetchall()
        if found:
            db.executemany("DELETE FROM message WHERE id = ?", found)
            return len(found)
    db.execute("DELETE FROM dropped WHERE queue_id = ?", (queue_id,))
    return 1


def age_messages(db: sqlite3.Connection, queue_id: int, now: float, period_seconds: float) -> int:
    """Move messages that waited a period behind more urgent ones up one level; return how many.

    Never to the level of CRITICAL or above, never where nothing more urgent waits, and at most
    `BATCH` of a queue. Upper levels first, so that none moves twice in one pass.
    """
    moved = 0
    top = db.execute("SELECT min(prio) FROM ready WHERE queue_id = ?", (queue_id,)).fetchone()[0]
    for prio in range(MOST_URGENT - _HIGHEST_AGED_PRIORITY + 1, MOST_URGENT + 1):
        if top is None or top >= prio or moved >= BATCH:
            continue
        moved += _age_level(db, queue_id, prio, now, now - period_seconds, BATCH - moved)
    return moved


def _age_level(
    db: sqlite3.Connection, queue_id: int, prio: int, now: float, before: float, limit: int
) -> int:
    # The head first, then the condition: the oldest of a level are at its head, so nothing is
    # read beyond what may be moved.
    rows = db.execute(
        "DELETE FROM ready WHERE queue_id = :queue AND prio = :prio AND id IN"
        " (SELECT id FROM (SELECT id, at FROM ready WHERE queue_id = :queue AND prio = :prio"
        " ORDER BY id LIMIT :limit) WHERE at <= :before) RETURNING id, attempts",
        {"queue": queue_id, "prio": prio, "limit": limit, "before": before},
    ).fetchall()
    db.executemany(
        "INSERT INTO ready (queue_id, prio, id, attempts, at) VALUES (?, ?, ?, ?, ?)",
        [(queue_id, prio - 1, message_id, attempts, now) for message_id, attempts in rows],
    )
    return len(rows)


def shrink(db: sqlite3.Connection) -> int:
    """Give free pages at the end of the file back to the file system; return how many."""
    before = db.execute("PRAGMA freelist_count").fetchone()[0]
    for _ in range(min(_VACUUMED_AT_ONCE, before - _SPARE_PAGES)):
        # One by one: the pragma frees a page with every step, and sqlite3 takes one step only.
        db.execute("PRAGMA incremental_vacuum(1)")
    return int(before - db.execute("PRAGMA freelist_count").fetchone()[0])


def purge(store: Store, queue_id: int, busy_seconds: float) -> int:
    """``ready --> (deleted)`` for all that waits in a queue now; return how many."""
    newest = store.read("SELECT next_id FROM meta")[0][0]
    total = 0
    while True:
        with store.transaction(busy_seconds=busy_seconds) as db:
            purged = purge_some(db, queue_id, newest, _PURGED_AT_ONCE)
        total += purged
        if not purged:
            return total
