"""The statements that every message under custody runs, as SQL text.

Django's ORM takes 0.4 ms to put one of them together, several times what the database takes for
it. Everything that runs seldom stays with the ORM. SQLite and PostgreSQL understand all of them.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connection

from messaging.models import DedupHorizon, InboxMessage, OutboxMessage

_OUTBOX: Final = OutboxMessage._meta.db_table
_INBOX: Final = InboxMessage._meta.db_table
_HORIZON: Final = DedupHorizon._meta.db_table
_COPY: Final = (
    "message_id = %(message_id)s AND target = %(target)s AND generation = %(generation)s"
)

MARK_PUBLISHED: Final = (
    f"UPDATE {_OUTBOX} SET state = 'published', published_at = %(now)s, "
    "first_published_at = COALESCE(first_published_at, %(now)s), publishes = publishes + 1, "
    f"due_at = %(due_at)s, last_error = '' WHERE {_COPY} AND state IN ('pending', 'published')"
)
#: Of what is not under custody: the broker has it, that is all.
FORGET_PUBLISHED: Final = (
    f"DELETE FROM {_OUTBOX} WHERE {_COPY} AND NOT under_custody "
    "AND state IN ('pending', 'published')"
)
SETTLE: Final = (
    f"UPDATE {_OUTBOX} SET state = %(outcome)s, settled_at = %(now)s, "
    "told_at = COALESCE(told_at, %(now)s), due_at = NULL, reason = %(reason)s "
    f"WHERE {_COPY} AND under_custody AND state IN ('pending', 'published', 'accepted')"
)
END_RUN: Final = (
    f"UPDATE {_INBOX} SET state = %(state)s, run_token = '', due_at = NULL, "
    "finished_at = %(now)s, owes_receipt = %(owes_receipt)s, attempts = attempts + %(tries)s, "
    "last_error = %(last_error)s, copies = COALESCE(%(copies)s, copies), "
    "unended_runs = CASE WHEN %(state)s = 'handled' THEN 0 ELSE unended_runs END "
    "WHERE id = %(row_id)s AND state = 'running' AND run_token = %(token)s"
)
_HORIZON_OF: Final = (
    f"SELECT purged_upto FROM {_HORIZON} WHERE service = %(service)s AND source = %(source)s"
)


def run(statement: str, values: Mapping[str, Any]) -> int:
    """Run a statement; return how many rows it changed. Instants and all else as in Python."""
    with connection.cursor() as cursor:
        cursor.execute(statement, _adapted(values))
        return cursor.rowcount


def run_each(statement: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Run a statement once for each row."""
    with connection.cursor() as cursor:
        for row in rows:
            cursor.execute(statement, _adapted(row))


def insert(table: str, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with its key is there; return whether it was inserted."""
    names = ", ".join(values)
    places = ", ".join(f"%({name})s" for name in values)
    statement = f"INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING"
    return run(statement, values) > 0


def horizon_of(service: str, source: str) -> datetime | None:
    """Return up to when the inbox has forgotten what a source said."""
    with connection.cursor() as cursor:
        cursor.execute(_HORIZON_OF, {"service": service, "source": source})
        row = cursor.fetchone()
    if row is None:
        return None
    found: datetime = row[0]
    # SQLite keeps no offset; what Django writes is UTC.
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _adapted(values: Mapping[str, Any]) -> dict[str, Any]:
    adapt = connection.ops.adapt_datetimefield_value
    return {
        name: adapt(value) if isinstance(value, datetime) else value
        for name, value in values.items()
    }
