"""One write transaction of a store: alone among all processes, on a file that is still there."""

import sqlite3
from types import TracebackType
from typing import TYPE_CHECKING

from messaging.errors import BrokerBusy, BrokerUnavailable, PublishUncertain
from messaging.transport.errors import is_busy
from messaging.transport.files import WRITER_BYTE
from messaging.transport.opening import begin_immediate, wait_for

if TYPE_CHECKING:
    from messaging.transport.store import Store


class Transaction:
    """Begins at ``with``, commits at its end, rolls back if the block raises.

    Never held over user code. Order of locks: the store's (threads), the writer byte (processes),
    SQLite's own. Each is let go whatever happens.
    """

    def __init__(self, store: "Store", busy_seconds: float, full: bool) -> None:
        self._store = store
        self._busy_seconds = busy_seconds
        self._full = full
        self._db: sqlite3.Connection

    def __enter__(self) -> sqlite3.Connection:
        store = self._store
        if not store.lock.acquire(timeout=self._busy_seconds):
            raise BrokerBusy(f"{store.files.database}: another thread did not let go of it")
        try:
            self._db = store.opened(self._busy_seconds)
            deadline = store.clock.monotonic() + self._busy_seconds
            try:
                wait_for(store.live, WRITER_BYTE, deadline, store.clock, store.files.database)
                self._begin(deadline)
            except BaseException:
                self._roll_back()
                raise
        except BaseException:
            store.lock.release()
            raise
        return self._db

    def _begin(self, deadline: float) -> None:
        store = self._store
        try:
            store.set_synchronous(self._db, full=self._full)
            begin_immediate(self._db, deadline, store.clock)
        except sqlite3.Error as exc:
            raise store.failure(exc) from exc
        # Under the lock: an answer from before it could be old by now.
        if store.retire_if_moved():
            raise BrokerUnavailable(store.retired)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._commit()
            else:
                self._roll_back()
        except BaseException:
            # Ctrl-C, after the commit or before: others must not wait while this process rests.
            self._roll_back()
            raise
        finally:
            self._store.lock.release()
        if isinstance(error, sqlite3.Error):
            raise self._store.failure(error) from error

    def _commit(self) -> None:
        path = self._store.files.database
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            self._roll_back()
            if is_busy(exc) or exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                raise self._store.failure(exc) from exc  # rolled back as a whole
            raise PublishUncertain(f"{path}: the commit failed: {exc}") from exc
        self._store.live.unlock(WRITER_BYTE)
        self._store.on_commit()
        # The one race that no lock closes: the name vanishing while we commit.
        if self._store.retire_if_moved():
            raise PublishUncertain(
                f"{path} was deleted or replaced during the commit; what was written may be lost"
            )

    def _roll_back(self) -> None:
        try:
            # A store that retires rolls back itself, as SQLite does when the disk is full.
            if not self._store.retired and self._db.in_transaction:
                self._db.execute("ROLLBACK")
        finally:
            self._store.live.unlock(WRITER_BYTE)
