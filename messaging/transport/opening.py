"""Opening a broker file: make it if missing, set it up, and wait for others in doing so."""

import os
import sqlite3
from typing import Final

from messaging.clock import Clock
from messaging.errors import BrokerBusy, ConfigurationError, MessagingError
from messaging.transport import schema
from messaging.transport.errors import is_busy
from messaging.transport.files import (
    OPENING_BYTE,
    BrokerFiles,
    LiveFile,
    live_file,
    prepare_folder,
)

#: RETURNING, which claims and requeues are made of.
_OLDEST_SQLITE: Final = (3, 35, 0)

#: NORMAL survives the death of any process; a power cut may lose the last commits, never more.
#: 4000 pages; the keeper has carried most of them over by then, where there is one (`checkpoint`).
#: busy_timeout is for writers that ignore our lock byte (the sqlite3 shell, admin tools); waiting
#: starts again until the caller's own budget is used up.
_PRAGMAS: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA busy_timeout = 250",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16000",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
)

#: Waiting for a lock byte: first and longest pause. The kernel's own queue (F_SETLKW) is fairer,
#: but cannot be left: one stopped process in a transaction would hang all others for ever.
_FIRST_PAUSE_SECONDS: Final = 50e-6
_LONGEST_PAUSE_SECONDS: Final = 1e-3


def open_database(
    files: BrokerFiles, busy_seconds: float, clock: Clock
) -> tuple[sqlite3.Connection, LiveFile]:
    """Return a connection to a broker file that exists and has its tables, and its lock file.

    Raises:
        ConfigurationError: this file can never be a broker here.
        BrokerBusy: others kept it for busy_seconds.
        sqlite3.Error, OSError: it cannot be opened or written.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ConfigurationError(
            f"embedded broker: expected SQLite >= 3.35, got {sqlite3.sqlite_version}"
        )
    prepare_folder(files)
    live = live_file(files)
    deadline = clock.monotonic() + busy_seconds
    # Opening is serial among processes: switching to WAL needs the file for oneself, and what
    # a deleted database left behind must be removed before anybody opens its successor.
    wait_for(live, OPENING_BYTE, deadline, clock, files.database)
    try:
        _create_if_missing(files)
        return _connected(files.database, deadline, clock), live
    finally:
        live.unlock(OPENING_BYTE)


def wait_for(live: LiveFile, byte: int, deadline: float, clock: Clock, path: str) -> None:
    """Take a lock byte, or raise BrokerBusy at the deadline (monotonic seconds)."""
    pause = _FIRST_PAUSE_SECONDS
    while not live.try_lock(byte):
        if clock.monotonic() >= deadline:
            raise BrokerBusy(f"{path}: other processes did not let go of it in time")
        clock.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def begin_immediate(db: sqlite3.Connection, deadline: float, clock: Clock) -> None:
    """Begin a write transaction, or raise sqlite3.OperationalError at the deadline."""
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
    db = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        for pragma in _PRAGMAS:
            db.execute(pragma)
        if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            db.execute("PRAGMA journal_mode = WAL")
        if db.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
            begin_immediate(db, deadline, clock)
            schema.install(db, path)
            db.execute("COMMIT")
    except (sqlite3.Error, MessagingError):
        db.close()
        raise
    return db
