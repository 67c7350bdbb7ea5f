"""Database work on threads: of an event loop, where Django forbids it, and of our own."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections, transaction
from django.db.backends.signals import connection_created

from messaging.forking import no_fork_meanwhile, without_fork


def on_event_loop() -> bool:
    """Return whether Django forbids database work on this thread just now."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def off_the_event_loop(work: Callable[[], Any]) -> None:
    """Run database work here, or on a short-lived thread where Django forbids it here."""
    if not on_event_loop():
        work()
        return
    failure: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:
            failure.append(exc)
        finally:
            with no_fork_meanwhile():
                connections.close_all()

    thread = threading.Thread(target=run, name="messaging-outbox")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


@contextmanager
def write_transaction(*, to_disk: bool = True) -> Iterator[None]:
    """Run the block in a transaction that writes; on SQLite threads of this process take turns.

    One writer at a time is all that SQLite has, and who finds it busy sleeps for a millisecond or
    ten; waiting for each other here wakes at once.

    Args:
        to_disk: False: a power cut may take the commit back, with all that were made after it.
            For what is done again then. Only SQLite tells the difference.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    global _writer
    with _turns, contextlib.nullcontext() if to_disk else _unsynced(), transaction.atomic():
        _writer = connection.connection
        try:
            yield
        finally:
            _writer = None


def stop_writing() -> None:
    """Roll back the `write_transaction` that a thread of this process is in; it writes no more.

    For a process that is about to end and leaves its threads where they are: on SQLite nobody else
    writes before. What the thread runs on that connection from now on is refused.
    """
    writer = _writer
    if writer is not None:
        writer.set_authorizer(_only_roll_back)
        writer.interrupt()
        if writer.in_transaction:
            writer.execute("ROLLBACK")


def _only_roll_back(action: int, what: str | None, *_: str | None) -> int:
    is_end = action == sqlite3.SQLITE_TRANSACTION and what == "ROLLBACK"
    return sqlite3.SQLITE_OK if is_end else sqlite3.SQLITE_DENY


def lone_write() -> contextlib.AbstractContextManager[None]:
    """Run one statement that need not reach the disk: what it says comes again.

    Only SQLite can say so for one statement; elsewhere it commits by itself, and a transaction
    would cost two round trips more.
    """
    if connection.vendor == "sqlite":
        return write_transaction(to_disk=False)
    return contextlib.nullcontext()


@contextmanager
def _unsynced() -> Iterator[None]:
    """Have commits within the block left to the next one that syncs SQLite's log."""
    connection.ensure_connection()
    database = connection.connection
    with connection.wrap_database_errors:
        (before,) = database.execute("PRAGMA synchronous").fetchone()
        if before > _SYNCHRONOUS_NORMAL:
            database.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        if before > _SYNCHRONOUS_NORMAL and connection.connection is database:
            try:
                database.execute(f"PRAGMA synchronous = {before}")
            except sqlite3.Error:
                connection.close()  # the next one syncs again


_SYNCHRONOUS_NORMAL = 1

_turns = threading.RLock()
#: Of the thread whose turn it is.
_writer: sqlite3.Connection | None = None


def _forget_turns() -> None:
    global _turns, _writer
    _turns, _writer = threading.RLock(), None  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_forget_turns)


def keep_no_queries() -> None:
    """Have connections opened from now on keep no list of their queries. Idempotent.

    With DEBUG they keep 9,000, payloads and all. Django forgets them with its own requests only,
    which a worker has none of.
    """
    connection_created.connect(_drop_list, dispatch_uid="messaging.keep_no_queries")


def _drop_list(connection: Any, **_: Any) -> None:
    connection.queries_log = deque(maxlen=0)


@without_fork
def close_database() -> None:
    """Close this thread's connection; the next use opens another one."""
    connection.close()
