"""What a power cut must not take back, and what it may."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from messaging.custody import inbox, outbox
from messaging.database_threads import write_transaction
from tests.unit.custody.test_inbox import critical, run_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL always syncs"),
]

NORMAL, FULL = 1, 2


def synchronous() -> int:
    connection.ensure_connection()
    return int(connection.connection.execute("PRAGMA synchronous").fetchone()[0])


@contextmanager
def writes() -> Iterator[dict[str, int]]:
    """Note how each table's writes were committed, by the first words of the statement."""
    seen: dict[str, int] = {}

    def note(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        words = sql.replace(chr(34), "").split()
        if words[0] in ("INSERT", "UPDATE"):
            seen[f"{words[0]} {words[2 if words[0] == 'INSERT' else 1]}"] = synchronous()
        return execute(sql, *arguments)

    with connection.execute_wrapper(note):
        yield seen


def test_what_is_accepted_is_on_disk() -> None:
    with writes() as seen:
        outbox.store(critical(), under_custody=True)
    assert seen == {"INSERT messaging_outboxmessage": FULL}


def test_what_is_accepted_in_a_callers_transaction_is_on_disk_with_its_commit() -> None:
    with writes() as seen, transaction.atomic():
        outbox.store(critical(), under_custody=True)
    assert seen == {"INSERT messaging_outboxmessage": FULL}


def test_notes_of_runs_are_left_to_the_next_commit_that_syncs() -> None:
    with writes() as seen:
        inbox.done(run_of(critical()))
    assert seen["INSERT messaging_inboxmessage"] == NORMAL
    assert seen["UPDATE messaging_inboxmessage"] == NORMAL
    assert synchronous() == FULL


def test_with_atomic_the_note_is_on_disk_with_the_handlers_work() -> None:
    run = run_of(critical())
    with writes() as seen, write_transaction():
        inbox.done(run)
    assert seen["UPDATE messaging_inboxmessage"] == FULL


def test_a_database_that_never_syncs_is_left_so() -> None:
    connection.ensure_connection()
    connection.connection.execute("PRAGMA synchronous = OFF")
    try:
        with write_transaction(to_disk=False):
            assert synchronous() == 0
        assert synchronous() == 0
    finally:
        connection.close()


def test_a_connection_that_is_closed_inside_is_let_go() -> None:
    class Closed(Exception):
        pass

    def close_inside() -> None:
        with write_transaction(to_disk=False):
            connection.connection.close()
            raise Closed

    with pytest.raises(Closed):
        close_inside()
    connection.close()
    assert synchronous() == FULL
