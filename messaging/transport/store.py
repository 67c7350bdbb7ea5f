"""One SQLite connection of this process to one broker file, and its write transactions.

Three dangers are met here and nowhere else. *Writers of other processes*: a lock byte beside the
file, then BEGIN IMMEDIATE. *The file deleted or replaced under us*: looked at in each
transaction. *fork*: no SQLite connection is open while the process forks.
"""

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from messaging.clock import SYSTEM_CLOCK, Clock
from messaging.errors import BrokerBusy, BrokerError, BrokerUnavailable
from messaging.transport.errors import broker_error
from messaging.transport.files import BrokerFiles, Identity, LiveFile, identity_of
from messaging.transport.opening import open_database
from messaging.transport.transaction import Transaction

#: Patience where no caller's ``busy_seconds`` is at hand: reopening after a fork.
_OPENING_SECONDS: Final = 30.0
#: See `Store.failure`.
_BRAKE_SECONDS: Final = 1.0
#: A folder changed less than this ago may change again without its time showing it: kernels
#: stamp with the last timer tick, 10 ms at most.
_STAMP_SECONDS: Final = 0.1


class Store:
    """One broker file as this process sees it. Thread-safe: its transactions are short and serial.

    A store whose file was deleted or replaced, or that was inherited through a fork, is *retired*:
    every use raises BrokerUnavailable, and `Broker.at` makes a new one.
    """

    def __init__(self, files: BrokerFiles, clock: Clock = SYSTEM_CLOCK) -> None:
        self.files = files
        self._folder_name = os.path.dirname(files.database)
        self.clock = clock
        #: Whether this object was made by the parent of this process.
        self.inherited = False
        #: Held during every use of the connection.
        self.lock = threading.RLock()
        #: Held by readers with a connection of their own, so that no fork happens meanwhile.
        self.reading = threading.Lock()
        #: Why this store can no longer be used; "" while it can.
        self.retired = ""
        #: Told of each commit.
        self.on_commit: Callable[[], None] = lambda: None
        self._on_retired: list[Callable[[], None]] = []
        self._connection: sqlite3.Connection | None = None
        self._is_full = False
        self._live: LiveFile | None = None
        #: Device and inode of the four files when they were opened.
        self._identities: dict[str, Identity] = {}
        #: The folder as it was when all four were found in place.
        self._quiet_folder: tuple[int, int, int] | None = None
        self._last_failure = ""
        self._brake_until = 0.0
        with _stores_lock:
            _stores.add(self)

    @property
    def live(self) -> LiveFile:
        """The lock file. Opens the store if need be."""
        if self._live is None:
            with self.lock:
                self.opened(_OPENING_SECONDS)
        assert self._live is not None  # set by `opened`
        return self._live

    def open(self, busy_seconds: float) -> None:
        """Make sure that the file exists, is ours and can be written to.

        Raises:
            ConfigurationError: this file can never be a broker here.
            BrokerUnavailable, BrokerBusy: not now; safe to try again.
        """
        if self._last_failure and self.clock.monotonic() < self._brake_until:
            raise BrokerUnavailable(f"{self._last_failure}, a moment ago")
        with self.lock:
            self.opened(busy_seconds)
            self.check()

    def failure(self, error: sqlite3.Error) -> BrokerError:
        """Return SQLite's error as one of the bus, to be raised from it.

        After one that a new connection does not cure (a full disk), connecting fails for a
        moment: kombu publishes again at once as long as connecting succeeds, but waits between
        attempts to connect.
        """
        found = broker_error(self.files.database, error)
        if not isinstance(found, BrokerBusy):
            self._last_failure = str(found)
            self._brake_until = self.clock.monotonic() + _BRAKE_SECONDS
        return found

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

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection, outside of a transaction: for reads, which wait for nobody.

        Fetch all rows at once: a half-read cursor keeps a snapshot that stops the log's reuse.

        Raises:
            BrokerUnavailable: the file is gone or damaged.
        """
        with self.lock:
            try:
                yield self.opened(_OPENING_SECONDS)
            except sqlite3.Error as exc:
                raise self.failure(exc) from exc

    def read(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """Return all rows of a query."""
        with self.connection() as db:
            return db.execute(statement, parameters or {}).fetchall()

    def check(self) -> None:
        """Raise BrokerUnavailable, and retire, if the file was deleted or replaced. Costs 4 us."""
        if not self.retired:
            self.retire_if_moved()
        if self.retired:
            raise BrokerUnavailable(self.retired)

    def retire(self, reason: str) -> None:
        """Refuse every later use, and let go of the connection. From any thread."""
        with self.lock:
            if self.retired:
                return
            self.retired = reason
            connection, self._connection = self._connection, None
            if connection is not None:
                self._let_go(connection)
        for callback in self._on_retired:
            callback()

    def _let_go(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        database = self.files.database
        if _is_still(database, self._identities.get(database)):
            # Only its log or the lock file was taken away: closing saves what the log held.
            connection.close()
        else:
            # Never closed: SQLite would tidy up ``-wal`` *by name*, which may be the successor's.
            # It costs three file descriptors, and what memory it will not let go of.
            connection.execute("PRAGMA shrink_memory")
            _parked.append(connection)

    def on_retired(self, callback: Callable[[], None]) -> None:
        """Call this, from any thread, when the store retires."""
        self._on_retired.append(callback)

    def inherit(self) -> None:
        """Retire in a forked child, in silence: whoever listens is of the parent."""
        self._on_retired.clear()
        self.inherited = True
        self.retired = self.retired or "this connection belongs to the parent process"

    def __del__(self) -> None:
        if self._connection is not None and not self.retired:
            self._connection.close()

    def close_for_fork(self) -> None:
        """Close the connection; the next use opens another one. The lock must be held.

        SQLite keeps POSIX locks and their bookkeeping per process: a child with an inherited open
        connection would believe it has the parent's locks, and lose its log when the parent ends.
        """
        if self._connection is not None and not self.retired:
            self._connection.close()
            self._connection = None

    def opened(self, busy_seconds: float) -> sqlite3.Connection:
        """Return the connection, opened if need be. The lock must be held."""
        if self.retired:
            raise BrokerUnavailable(self.retired)
        if self._connection is None:
            path = self.files.database
            try:
                self._connection, self._live = open_database(self.files, busy_seconds, self.clock)
                self._remember_identities(self._live)
            except sqlite3.Error as exc:
                raise self.failure(exc) from exc
            except OSError as exc:
                raise BrokerUnavailable(f"{path}: {exc}") from exc
            self._is_full = False
            if self.retired:
                raise BrokerUnavailable(self.retired)
        return self._connection

    def set_synchronous(self, db: sqlite3.Connection, *, full: bool) -> None:
        """Have the next commits survive a power cut, or only the death of processes."""
        if full != self._is_full:
            db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._is_full = full

    def _remember_identities(self, live: LiveFile) -> None:
        # The log and its index are new files after a fork, if we were the last to close them; the
        # database and the lock file never are.
        lasting = {
            self.files.database: identity_of(os.stat(self.files.database)),
            self.files.live: live.identity,
        }
        changed = bool(self._identities) and not lasting.items() <= self._identities.items()
        passing = (self.files.write_ahead_log, self.files.shared_memory)
        self._quiet_folder = None
        self._identities = lasting | {name: identity_of(os.stat(name)) for name in passing}
        if changed:
            self.retire(f"{self.files.database} was replaced; nothing was written to the new one")

    def retire_if_moved(self) -> bool:
        """Retire if one of the four files is not the one opened; return whether so. 2 us.

        A name cannot be made, taken away or given to another file without a change of the
        folder's own time, so most of the time a look at the folder is enough.
        """
        folder = self._folder()
        if folder is not None and folder == self._quiet_folder:
            return False
        for name, identity in self._identities.items():
            if not _is_still(name, identity):
                self.retire(f"{name} was deleted or replaced; nothing was written to the new one")
                return True
        is_settled = folder and SYSTEM_CLOCK.now() - folder[2] / 1e9 > _STAMP_SECONDS
        self._quiet_folder = folder if is_settled else None
        return False

    def _folder(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._folder_name)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns


def _is_still(name: str, identity: Identity | None) -> bool:
    try:
        return identity_of(os.stat(name)) == identity
    except OSError:
        return False


#: Weak: whoever uses a store holds it.
_stores: "weakref.WeakSet[Store]" = weakref.WeakSet()
_stores_lock = threading.Lock()
#: Stores that were locked for the fork under way, in that order.
_held_for_fork: list[Store] = []
#: Connections to files that have lost their name; see `Store._let_go`.
_parked: list[Any] = []


def _before_fork() -> None:
    _stores_lock.acquire()
    for store in list(_stores):
        # Both: no thread may be inside SQLite, or its mutexes stay locked in the child for ever.
        store.lock.acquire()
        store.reading.acquire()
        store.close_for_fork()
        _held_for_fork.append(store)


def _after_fork_in_parent() -> None:
    while _held_for_fork:
        store = _held_for_fork.pop()
        store.reading.release()
        store.lock.release()
    _stores_lock.release()


def _after_fork_in_child() -> None:
    for store in _held_for_fork:
        store.inherit()
    _after_fork_in_parent()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
