"""Runs SQL text on Django's connection, past what Django's cursors add where nobody watches them.

Its wrappers take longer than SQLite does for most statements here. With a log of statements or an
execute wrapper in place (tests, tracing), and on other databases, they are used as ever.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connection

_NAME: Final = re.compile(r"%\((\w+)\)s")


class Statement:
    """SQL text with ``%(name)s`` where a value goes. No other ``%`` in it."""

    __slots__ = ("_named", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._named = _NAME.sub(r":\1", text)

    def run(self, values: Mapping[str, Any]) -> int:
        """Run it; return how many rows it changed. Instants and all else as in Python."""
        if _is_watched():
            with connection.cursor() as cursor:
                cursor.execute(self.text, _adapted(values))
                return cursor.rowcount
        with connection.wrap_database_errors:
            return int(connection.connection.execute(self._named, _as_text(values)).rowcount)

    def fetch(self, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run it; return the first row that it reads or returns, if there is one."""
        if _is_watched():
            with connection.cursor() as cursor:
                cursor.execute(self.text, _adapted(values))
                return cursor.fetchone()
        with connection.wrap_database_errors:
            found = connection.connection.execute(self._named, _as_text(values))
            # To its end: SQLite has finished a statement only then.
            return next(iter(found.fetchall()), None)


def _is_watched() -> bool:
    """Return whether statements must go through Django's cursors. Connects."""
    if connection.vendor != "sqlite" or connection.execute_wrappers or connection.queries_logged:
        return True
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    return False


def _adapted(values: Mapping[str, Any]) -> dict[str, Any]:
    adapt = connection.ops.adapt_datetimefield_value
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
