"""What a backup says of itself: versions, counts and checksums."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

FILE: Final = "manifest.json"
#: Of this file and the names beside it.
FORMAT: Final = 1

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What was copied, and when."""

    format: int
    #: The one instant that both files are of, ISO 8601 in UTC.
    taken_at: str
    #: Layout of the broker file, see `messaging.transport.schema`.
    broker_layout: int
    #: Migrations that the database has had, by app.
    migrations: Mapping[str, list[str]]
    #: Rows by what and state, for people.
    counts: Mapping[str, int]
    #: SHA-256 of each file.
    sha256: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the manifest of a backup.

        Raises:
            ValueError: this folder is no backup, or one that this version cannot read.
        """
        try:
            values: dict[str, Any] = json.loads((folder / FILE).read_text())
        except FileNotFoundError:
            raise ValueError(f"{folder} is no backup: it has no {FILE}") from None
        if values["format"] != FORMAT:
            raise ValueError(f"{folder} has format {values['format']}, expected {FORMAT}")
        return cls(**values)

    def write(self, path: Path) -> None:
        """Write it to an empty file."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def sha256_of(path: Path) -> str:
    """Return the checksum of a file that nobody writes to."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def layout_of(broker: sqlite3.Connection) -> int:
    """Return which layout a broker file has."""
    return int(broker.execute("PRAGMA user_version").fetchone()[0])


def migrations_of(database: sqlite3.Connection) -> dict[str, list[str]]:
    """Return which migrations a database has had."""
    found: dict[str, list[str]] = {}
    for app, name in database.execute("SELECT app, name FROM django_migrations ORDER BY id"):
        found.setdefault(app, []).append(name)
    return found


def counts_of(database: sqlite3.Connection, broker: sqlite3.Connection) -> dict[str, int]:
    """Return how much there is of what: outbox and inbox by state, dead letters, the broker."""
    counts: dict[str, int] = {}
    for table in ("outbox", "inbox"):
        rows = database.execute(
            f"SELECT state, count(*) FROM messaging_{table}message GROUP BY state ORDER BY state"
        )
        counts |= {f"{table} {state}": number for state, number in rows}
    (letters,) = database.execute("SELECT count(*) FROM gateway_app_deadletter").fetchone()
    counts["dead letters"] = letters
    for table in ("queue", "ready", "lease", "delayed"):
        (number,) = broker.execute(f"SELECT count(*) FROM {table}").fetchone()
        counts[f"broker {table}"] = number
    return counts
