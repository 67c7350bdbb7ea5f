"""Databases that keep messages, as Django's settings have them."""

import copy
from importlib.util import find_spec
from typing import Any, Final

import dj_database_url

from messaging.errors import ConfigurationError
from messaging.libraries import need

SQLITE: Final = "django.db.backends.sqlite3"
POSTGRESQL: Final = "django.db.backends.postgresql"

#: ``OPTIONS`` of a SQLite database that several processes write to.
SQLITE_OPTIONS: Final[dict[str, Any]] = {
    # A transaction that reads first and writes later would fail at once with "database is
    # locked" when somebody else wrote in between; this one waits for its turn instead.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    # The cache: at a million rows the indexes do not fit in the 2 MB that SQLite has else.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-4000;",
}
#: What a database at a URL has besides.
_MORE: Final[dict[str, dict[str, Any]]] = {
    SQLITE: {"OPTIONS": SQLITE_OPTIONS},
    # A new connection costs more than most requests do. The look before a request's first use
    # finds those that the server or a pooler has closed.
    POSTGRESQL: {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True},
}


def database_at(url: str, name: str) -> dict[str, Any]:
    """Return Django's settings of the database at a URL.

    Args:
        url: not shown in errors: it has a password.
        name: of the setting, for the error.

    Raises:
        ConfigurationError: it is no URL of a database, or the driver is not installed.
    """
    try:
        database = dict(dj_database_url.parse(url))
    except (ValueError, KeyError) as exc:
        raise ConfigurationError(
            f"{name}: expected a URL such as postgres://user:password@host:5432/name or "
            "sqlite:////folder/file.sqlite3, got something else; quote special characters in "
            "passwords as %40 and the like"
        ) from exc
    if database["ENGINE"] == POSTGRESQL and find_spec("psycopg2") is None:
        need("postgresql", "psycopg", name=name)
    more = copy.deepcopy(_MORE.get(str(database["ENGINE"]), {}))
    return {**database, **more}
