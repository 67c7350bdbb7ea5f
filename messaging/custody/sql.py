"""Runs SQL text on Django's connection, past what Django's cursors add where nobody watches them.

Its wrappers take longer than SQLite does for most statements here. With a log of statements or an
execute wrapper in place (tests, tracing), and on other databases, they are used as ever.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, connections

_NAME: Final = re.compile(r"%\((\w+)\)s")


class Statement:
    """SQL text with ``%(name)s`` where a value goes. No other ``%`` in it."""

    __slots__ = ("_named", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._named = _NAME.sub(r":\1", text)

    def run(self, values: Mapping[str, Any]) -> int:
        """Run it; return how many rows it changed. Instants and all else as in Python."""
        database = connections[DEFAULT_DB_ALIAS]  # the proxy costs as much as a statement
        if _is_watched(database):
            with database.cursor() as cursor:
                cursor.execute(self.text, _adapted(database, values))
                return cursor.rowcount
        with database.wrap_database_errors:
            return int(database.connection.execute(self._named, _as_text(values)).rowcount)

    def fetch(self, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run it; return the first row that it reads or returns, if there is one."""
        return next(iter(self.fetch_all(values)), None)

    def fetch_all(self, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run it; return all rows that it reads or returns. For instants in them: `instant`."""
        database = connections[DEFAULT_DB_ALIAS]
        if _is_watched(database):
            with database.cursor() as cursor:
                cursor.execute(self.text, _adapted(database, values))
                return cursor.fetchall()
        with database.wrap_database_errors:
            return list(database.connection.execute(self._named, _as_text(values)))


def instant(value: Any) -> datetime | None:
    """Return an instant from what was read; SQLite keeps no offset, and what it has is UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is None or value.tzinfo is not None:
        return value
    return value.replace(tzinfo=UTC)


def _is_watched(database: Any) -> bool:
    """Return whether statements must go through Django's cursors. Connects."""
    if database.vendor != "sqlite" or database.execute_wrappers or database.queries_logged:
        return True
    database.ensure_connection()
    database.validate_no_broken_transaction()
    return False


def _adapted(database: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    adapt = database.ops.adapt_datetimefield_value
    return {
        name: adapt(value) if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _as_text(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _instant(value) if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _instant(value: datetime) -> str:
    # As Django writes it: UTC without saying so. Its adapter takes seven times as long.
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.replace(tzinfo=None).isoformat(" ")
