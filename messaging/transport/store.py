"""One SQLite connection of this process to one broker file, and its write transactions.

Three dangers are met here and nowhere else. *Writers of other processes*: a lock byte beside the
file, then BEGIN IMMEDIATE. *The file deleted or replaced under us*: looked at in each
transaction. *fork*: no SQLite connection is open while the process forks.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from messaging.clock import SYSTEM_CLOCK, Clock
from messaging.errors import (
    BrokerBusy,
    BrokerUnavailable,
    ConfigurationError,
    MessagingError,
    PublishUncertain,
)
from messaging.transport import schema
from messaging.transport.errors import broker_error, is_busy
from messaging.transport.files import (
    OPENING_BYTE,
    WRITER_BYTE,
    BrokerFiles,
    Identity,
    LiveFile,
    identity_of,
    live_file,
    prepare_folder,
)

#: RETURNING, which claims and requeues are made of.
_OLDEST_SQLITE: Final = (3, 35, 0)

#: NORMAL survives the death of any process; a power cut may lose the last commits, never more.
#: 1000 pages: larger values stall rarer but longer (22 ms instead of 10 in the 99.9th percentile).
#: busy_timeout is for writers that ignore our lock byte: the sqlite3 shell, admin tools.
_PRAGMAS: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA busy_timeout = 1000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 67108864",
)

#: Waiting for a lock byte: first and longest pause. The kernel's own queue (F_SETLKW) is fairer,
#: but cannot be left: one stopped process in a transaction would hang all others for ever.
_FIRST_PAUSE_SECONDS: Final = 50e-6
_LONGEST_PAUSE_SECONDS: Final = 1e-3


class Store:
    """One broker file as this process sees it. Thread-safe: its transactions are short and serial.

    Get one by `Store.at`. A store whose file was deleted or replaced, or that was inherited
    through a fork, is *retired*: every use raises BrokerUnavailable, and `Store.at` makes a new one.
    """

    def __init__(self, files: BrokerFiles, clock: Clock = SYSTEM_CLOCK) -> None:
        self.files = files
        self.clock = clock
        #: Held during every use of the connection.
        self.lock = threading.RLock()
        #: Held by readers with a connection of their own, so that no fork happens meanwhile.
        self.reading = threading.Lock()
        #: Why this store can no longer be used; "" while it can.
        self.retired = ""
        self._on_retired: list[Callable[[], None]] = []
        self._connection: sqlite3.Connection | None = None
        self._synchronous = "NORMAL"
        self._live: LiveFile | None = None
        #: Device and inode of the database, its log and the lock file when they were opened.
        self._identities: dict[str, Identity] = {}

    @staticmethod
    def at(files: BrokerFiles) -> "Store":
        """Return this process's store for a file; made if there is none that can be used."""
        store = _stores.get(files.database)
        if store is None or store.retired:
            with _stores_lock:
                store = _stores.get(files.database)
                if store is None or store.retired:
                    store = _stores[files.database] = Store(files)
        return store

    @property
    def live(self) -> LiveFile:
        """The lock file. Opens the store if need be."""
        if self._live is None:
            with self.lock:
                self._db(busy_seconds=30.0)
        assert self._live is not None
        return self._live

    def open(self, busy_seconds: float) -> None:
        """Make sure that the file exists, is ours and can be written to.

        Raises:
            ConfigurationError: this file can never be a broker here.
            BrokerUnavailable, BrokerBusy: not now; safe to try again.
        """
        with self.lock:
            self._db(busy_seconds)
            self.check()

    def transaction(self, *, busy_seconds: float, full: bool = False) -> "Transaction":
        """Return a context manager: one write transaction, committed at its end.

        Args:
            busy_seconds: wait that long for other writers.
            full: whether the commit also survives a power cut (one fsync).

        Raises:
            BrokerBusy: others kept the lock for busy_seconds. Nothing was written.
            BrokerUnavailable: the file is gone, full, read-only, damaged. Nothing was written.
            PublishUncertain: the file vanished, or its disk failed, during the commit itself.
        """
        return Transaction(self, busy_seconds, full)

    def read(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """Return all rows of a query. Takes no lock that writers would wait for.

        All of them at once: a half-read cursor keeps a snapshot that stops the log's reuse.
        """
        with self.lock:
            try:
                return self._db(busy_seconds=30.0).execute(statement, parameters or {}).fetchall()
            except sqlite3.Error as exc:
                raise broker_error(self.files.database, exc) from exc

    def check(self) -> None:
        """Raise BrokerUnavailable, and retire, if the file was deleted or replaced. Costs 4 us."""
        if not self.retired:
            self._retire_if_moved()
        if self.retired:
            raise BrokerUnavailable(self.retired)

    def retire(self, reason: str) -> None:
        """Refuse every later use. The connection is parked, never closed.

        Closing would have SQLite tidy up: remove ``-wal`` *by name*, which may be the successor's.
        """
        if not self.retired:
            self.retired = reason
            _parked.append(self._connection)
            for callback in self._on_retired:
                callback()

    def on_retired(self, callback: Callable[[], None]) -> None:
        """Call this, from any thread, when the store retires."""
        self._on_retired.append(callback)

    def close_for_fork(self) -> None:
        """Close the connection; the next use opens another one. The lock must be held.

        SQLite keeps POSIX locks and their bookkeeping per process: a child with an inherited open
        connection would believe it has the parent's locks, and lose its log when the parent ends.
        """
        if self._connection is not None and not self.retired:
            self._connection.close()
            self._connection = None

    def _db(self, busy_seconds: float) -> sqlite3.Connection:
        if self.retired:
            raise BrokerUnavailable(self.retired)
        if self._connection is None:
            try:
                self._connect(busy_seconds)
            except sqlite3.Error as exc:
                raise broker_error(self.files.database, exc) from exc
            except OSError as exc:
                raise BrokerUnavailable(f"{self.files.database}: {exc}") from exc
        assert self._connection is not None
        return self._connection

    def _connect(self, busy_seconds: float) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(
                f"embedded broker: expected SQLite >= 3.35, got {sqlite3.sqlite_version}"
            )
        prepare_folder(self.files)
        live = live_file(self.files)
        deadline = self.clock.monotonic() + busy_seconds
        # Opening is serial among processes: switching to WAL needs the file for oneself, and what
        # a deleted database left behind must be removed before anybody opens its successor.
        wait_for(live, OPENING_BYTE, deadline, self.clock, self.files.database)
        try:
            _create_if_missing(self.files)
            self._connection = _connected(self.files.database, deadline, self.clock)
        finally:
            live.unlock(OPENING_BYTE)
        self._synchronous = "NORMAL"
        self._live = live
        self._remember_identities(live)

    def _remember_identities(self, live: LiveFile) -> None:
        names = (self.files.database, self.files.write_ahead_log)
        found = {name: identity_of(os.stat(name)) for name in names}
        found[self.files.live] = live.identity
        # The log is another file after a fork if we were the last to close it; nothing else may be.
        before = {**self._identities, self.files.write_ahead_log: found[names[1]]}
        changed = bool(self._identities) and before != found
        self._identities = found
        if changed:
            self.retire(f"{self.files.database} was replaced; nothing was written")

    def _retire_if_moved(self) -> bool:
        for name, identity in self._identities.items():
            try:
                if identity_of(os.stat(name)) == identity:
                    continue
            except FileNotFoundError:
                pass
            self.retire(f"{name} was deleted or replaced; nothing was written to the new one")
            return True
        return False


class Transaction:
    """One write transaction of a store; see `Store.transaction`. Never held over user code."""

    def __init__(self, store: Store, busy_seconds: float, full: bool) -> None:
        self._store = store
        self._busy_seconds = busy_seconds
        self._full = full

    def __enter__(self) -> sqlite3.Connection:
        store = self._store
        if not store.lock.acquire(timeout=self._busy_seconds):
            raise BrokerBusy(f"{store.files.database}: another thread did not let go of it")
        try:
            return self._begin()
        except BaseException:
            store.lock.release()
            raise

    def _begin(self) -> sqlite3.Connection:
        store, path = self._store, self._store.files.database
        deadline = store.clock.monotonic() + self._busy_seconds
        db = store._db(self._busy_seconds)
        wait_for(store.live, WRITER_BYTE, deadline, store.clock, path)
        try:
            self._set_synchronous(db)
            _begin_immediate(db, deadline, store.clock)
        except sqlite3.Error as exc:
            store.live.unlock(WRITER_BYTE)
            raise broker_error(path, exc) from exc
        # Under the lock: an answer from before it could be old by now.
        if store._retire_if_moved():
            self._roll_back(db)
            raise BrokerUnavailable(store.retired)
        return db

    def _set_synchronous(self, db: sqlite3.Connection) -> None:
        wanted = "FULL" if self._full else "NORMAL"
        if wanted != self._store._synchronous:
            db.execute(f"PRAGMA synchronous = {wanted}")
            self._store._synchronous = wanted

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        store = self._store
        db = store._connection
        assert db is not None
        try:
            if error is None:
                self._commit(db)
            else:
                self._roll_back(db)
        finally:
            store.lock.release()
        if isinstance(error, sqlite3.Error):
            raise broker_error(store.files.database, error) from error

    def _commit(self, db: sqlite3.Connection) -> None:
        path = self._store.files.database
        try:
            db.execute("COMMIT")
        except sqlite3.Error as exc:
            self._roll_back(db)
            if is_busy(exc) or exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                raise broker_error(path, exc) from exc  # rolled back as a whole
            raise PublishUncertain(f"{path}: commit failed: {exc}") from exc
        self._store.live.unlock(WRITER_BYTE)
        # The one race that no lock closes: the name vanishing while we commit.
        if self._store._retire_if_moved():
            raise PublishUncertain(
                f"{path} was deleted or replaced during the commit; what was written may be lost"
            )

    def _roll_back(self, db: sqlite3.Connection) -> None:
        try:
            if db.in_transaction:  # SQLite itself rolls back when the disk is full
                db.execute("ROLLBACK")
        finally:
            self._store.live.unlock(WRITER_BYTE)


def wait_for(live: LiveFile, byte: int, deadline: float, clock: Clock, path: str) -> None:
    """Take a lock byte, or raise BrokerBusy at the deadline (monotonic seconds)."""
    pause = _FIRST_PAUSE_SECONDS
    while not live.try_lock(byte):
        if clock.monotonic() >= deadline:
            raise BrokerBusy(f"{path}: other processes did not let go of it in time")
        clock.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _begin_immediate(db: sqlite3.Connection, deadline: float, clock: Clock) -> None:
    # IMMEDIATE: a transaction that begins as a reader cannot wait when it turns writer.
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if not is_busy(exc) or clock.monotonic() >= deadline:
                raise
        else:
            return


def _create_if_missing(files: BrokerFiles) -> None:
    try:
        # Made here for its mode; SQLite gives the other files the same one. O_EXCL: to open and
        # close a database this process has open would drop SQLite's locks on it.
        os.close(os.open(files.database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if os.stat(files.database).st_size:
            return
    # A log that outlived its database belongs to nobody, and its index may still be mapped by
    # processes that write to the deleted one: the successor must not share it with them.
    for name in (files.write_ahead_log, files.shared_memory):
        try:
            os.unlink(name)
        except FileNotFoundError:
            continue


def _connected(path: str, deadline: float, clock: Clock) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        for pragma in _PRAGMAS:
            db.execute(pragma)
        if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            db.execute("PRAGMA journal_mode = WAL")
        if db.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
            _begin_immediate(db, deadline, clock)
            schema.install(db, path)
            db.execute("COMMIT")
    except (sqlite3.Error, MessagingError):
        db.close()
        raise
    return db


_stores: dict[str, Store] = {}
_stores_lock = threading.Lock()
#: Connections of retired stores; see `Store.retire`.
_parked: list[Any] = []


def _before_fork() -> None:
    _stores_lock.acquire()
    for store in _stores.values():
        # Both: no thread may be inside SQLite, or its mutexes stay locked in the child for ever.
        store.lock.acquire()
        store.reading.acquire()
        store.close_for_fork()


def _release_all() -> None:
    for store in _stores.values():
        store.reading.release()
        store.lock.release()
    _stores_lock.release()


def _after_fork_in_child() -> None:
    _release_all()
    for store in _stores.values():
        store._on_retired.clear()  # they speak for the parent's threads and sockets
        store.retired = "this connection belongs to the parent process"
    _stores.clear()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_release_all,
    after_in_child=_after_fork_in_child,
)
