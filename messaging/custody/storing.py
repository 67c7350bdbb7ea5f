"""Inserting a message's row into the outbox, and what a failure of the database means for it."""

from collections.abc import Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from messaging.custody import hot, ordering
from messaging.errors import PublishError, PublishUncertain


def insert(row: Mapping[str, Any], turn: ordering.Sequence | None) -> bool:
    """Insert a row of the outbox; return whether it is new.

    Within the caller's transaction in a savepoint: where it fails, the caller's other work stays.

    Args:
        row: values of `hot.STORE`.
        turn: the sequence of its ordering key, for what waits for its turn in it.

    Raises:
        PublishError: it is not there. Where the text says that the transaction is rolled back, so
            is all else that was done in it.
        PublishUncertain: the server has not answered. Maybe it is there.
    """
    database = connections[DEFAULT_DB_ALIAS]  # the proxy costs as much as a statement
    in_transaction, is_connected = database.in_atomic_block, database.connection is not None
    try:
        if not is_connected:
            database.ensure_connection()
            is_connected = True
        if not in_transaction and turn is None:
            return hot.STORE.run(row) > 0
        with transaction.atomic():
            if turn is not None:
                ordering.take_turn(turn)
            return hot.STORE.run(row) > 0
    except Error as exc:  # of InterfaceError, too, which is no DatabaseError
        text = f"the outbox could not take {row['type']!r}: {exc}"
        if in_transaction:
            if database.needs_rollback:
                # A full disk, on SQLite: no savepoint is left. Django lets no statement follow.
                text += "; the database has rolled back the transaction that it was sent in"
            raise PublishError(text) from exc
        database.close_if_unusable_or_obsolete()
        if is_connected and not is_refused(exc):
            raise PublishUncertain(text) from exc
        raise PublishError(text) from exc


def is_refused(error: Error) -> bool:
    """Return whether the database has said that it did not do what it was asked for.

    A server does so by a code; without one its answer may have been lost, that of a commit, too.
    """
    is_server = connections[DEFAULT_DB_ALIAS].vendor != "sqlite"
    return not is_server or bool(getattr(error.__cause__, "sqlstate", None))
