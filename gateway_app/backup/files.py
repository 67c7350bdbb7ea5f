"""The two SQLite files that an installation without servers consists of."""

import os
import sqlite3
from typing import Final, NamedTuple
from urllib.parse import quote

from django.conf import settings

from messaging.apps import configured
from messaging.brokers import profile_for
from messaging.databases import SQLITE
from messaging.errors import ConfigurationError
from messaging.transport.files import BrokerFiles, files_of

#: Their names in a backup.
DATABASE: Final = "gateway.sqlite3"
BROKER: Final = "broker.sqlite3"


class Installed(NamedTuple):
    """Where the files of this installation are, whether or not they exist."""

    database: str
    broker: BrokerFiles

    def paths(self) -> dict[str, str]:
        """Return the two by their names in a backup."""
        return {DATABASE: self.database, BROKER: self.broker.database}


def installed() -> Installed:
    """Return the files of this installation.

    Raises:
        ConfigurationError: broker or database is a server, which has means of its own.
    """
    url = configured().broker_url
    default = settings.DATABASES["default"]
    servers = [
        name
        for name, is_server in (
            ("the broker", profile_for(url).name != "sqlite"),
            ("the database", default["ENGINE"] != SQLITE),
        )
        if is_server
    ]
    if servers:
        raise ConfigurationError(
            f"{' and '.join(servers)} of this installation is a server, and these commands copy "
            "files: back up PostgreSQL with its own means (pg_dump, PITR); what a broker loses of "
            "messages under custody is sent again (docs/production.md)"
        )
    return Installed(os.path.realpath(default["NAME"]), files_of(url))


def open_file(path: str) -> sqlite3.Connection:
    """Return a connection to a file that exists, in autocommit; waits 30 s for others.

    Raises:
        sqlite3.Error: it is not there, or no database.
    """
    return sqlite3.connect(
        f"file:{quote(path)}?mode=rw", uri=True, isolation_level=None, timeout=30.0
    )


def new_file(path: str) -> None:
    """Make an empty file of mode 0600.

    Raises:
        OSError: it exists, or cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def sync_file(path: str, flags: int = 0) -> None:
    """Have what is in a file survive a power cut. Not for a database that this process uses."""
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Have the names in a folder survive a power cut."""
    sync_file(path, os.O_DIRECTORY)


def require_whole(db: sqlite3.Connection, name: str) -> None:
    """Raise `sqlite3.DatabaseError` unless SQLite finds nothing wrong in a whole file."""
    found = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError(f"{name} is damaged: {'; '.join(found)}")
