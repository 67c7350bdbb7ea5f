"""The tables, declared once with SQLAlchemy Core, and how a file gets and keeps them.

Three narrow tables say where a message is; a row of ``message`` itself is never updated, so that
taking and giving back a 20 KB message writes 40 bytes. A message is in exactly one of ``ready``,
``lease`` and ``delayed``. ``prio`` is 9 minus the priority: the most urgent sorts first.
"""

import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from messaging.errors import ConfigurationError

#: Layout of the tables below; a file says its own in ``PRAGMA user_version``.
VERSION: Final = 2
#: "MBus": tells a broker file from any other SQLite database (``PRAGMA application_id``).
APPLICATION_ID: Final = 0x4D427573
#: Statements that lead from a version to the next one, by the version they start from.
UPGRADES: Mapping[int, Sequence[str]] = {
    1: ("ALTER TABLE consumer ADD COLUMN room INTEGER NOT NULL DEFAULT 0",),
}

#: Renders ``:name`` parameters, which sqlite3 takes as a mapping.
DIALECT: Final = sqlite.dialect(paramstyle="named")

metadata = MetaData()

#: One row. ``topology`` and ``consumers`` count changes, so that caches know when they are old.
meta = Table(
    "meta",
    metadata,
    Column("id", Integer, CheckConstraint("id = 0"), primary_key=True),
    Column("next_id", Integer, nullable=False),
    Column("topology", Integer, nullable=False),
    Column("consumers", Integer, nullable=False),
)

exchange = Table(
    "exchange",
    metadata,
    Column("name", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("durable", Integer, nullable=False),
    #: Counts changes of its bindings: the routing table of a topic exchange is rebuilt only then.
    Column("version", Integer, nullable=False),
    sqlite_with_rowid=False,
)

queue = Table(
    "queue",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("durable", Integer, nullable=False),
    Column("auto_delete", Integer, nullable=False),
    #: Session that owns an exclusive queue, else NULL.
    Column("owner", Integer),
    Column("expires_ms", Integer),
    Column("message_ttl_ms", Integer),
    Column("max_priority", Integer),
    Column("last_used_at", Float, nullable=False),
    UniqueConstraint("name"),
    sqlite_autoincrement=True,  # an id is never used again: leftovers cannot enter a new queue
)
Index("queue_expiry", queue.c.last_used_at, sqlite_where=queue.c.expires_ms.is_not(None))
Index("queue_owner", queue.c.owner, sqlite_where=queue.c.owner.is_not(None))

binding = Table(
    "binding",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("routing_key", Text, primary_key=True),
    Column("queue_id", Integer, primary_key=True),
    sqlite_with_rowid=False,
)
Index("binding_queue", binding.c.queue_id)

#: One row for every consuming connection; its process also holds byte 1000 + id of the lock file.
session = Table(
    "session",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("lease_seconds", Float, nullable=False),
    #: CLOCK_MONOTONIC of this host: a jump of the wall clock ends no lease.
    Column("lease_expires_at", Float, nullable=False),
    sqlite_autoincrement=True,
)

consumer = Table(
    "consumer",
    metadata,
    Column("queue_id", Integer, primary_key=True),
    Column("session_id", Integer, primary_key=True),
    Column("tag", Text, primary_key=True),
    #: Whether it takes without a lease, from a queue that nobody else will read.
    Column("takes", Integer, nullable=False),
    #: How many leases publishers may bring its session to, by handing messages to it.
    Column("room", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
Index("consumer_session", consumer.c.session_id)

message = Table(
    "message",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("queue_id", Integer, nullable=False),
    Column("sent_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("props", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
# Partial, so that a message without expiry pays nothing; kept by SQLite, so that an ack needs
# no statement of its own to forget the expiry.
Index("message_expiry", message.c.expires_at, sqlite_where=message.c.expires_at.is_not(None))

ready = Table(
    "ready",
    metadata,
    Column("queue_id", Integer, primary_key=True),
    Column("prio", Integer, primary_key=True),
    Column("id", Integer, primary_key=True),
    #: Deliveries before this one.
    Column("attempts", Integer, nullable=False),
    #: Since when it waits in this prio; ageing starts anew with every level.
    Column("at", Float, nullable=False),
    sqlite_with_rowid=False,
)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session_id", Integer, nullable=False),
    Column("queue_id", Integer, nullable=False),
    Column("prio", Integer, nullable=False),
    #: Deliveries including this one.
    Column("attempts", Integer, nullable=False),
)
Index("lease_session", lease.c.session_id)
Index("lease_queue", lease.c.queue_id)

delayed = Table(
    "delayed",
    metadata,
    Column("due_at", Float, primary_key=True),
    Column("id", Integer, primary_key=True),
    Column("queue_id", Integer, nullable=False),
    Column("prio", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("delayed_queue", delayed.c.queue_id)

#: Queues that are gone while some of their messages are not; swept in bounded batches.
dropped = Table("dropped", metadata, Column("queue_id", Integer, primary_key=True))


def install(db: sqlite3.Connection, path: str) -> None:
    """Bring an open transaction's file to `VERSION`: make the tables, or run the upgrades.

    Raises:
        ConfigurationError: another program's database, or one of a newer version of this code.
    """
    found = db.execute("PRAGMA user_version").fetchone()[0]
    is_ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if not is_ours and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise ConfigurationError(f"broker URL: {path!r} is a database of another program")
    if found > VERSION:
        raise ConfigurationError(
            f"broker URL: {path!r} has layout {found}, this version knows up to {VERSION}; "
            "update the software or use another file"
        )
    if found == VERSION:
        return
    if found:
        for version in range(found, VERSION):
            for statement in UPGRADES[version]:
                db.execute(statement)
    else:
        _create(db)
    db.execute(f"PRAGMA user_version = {VERSION:d}")


def _create(db: sqlite3.Connection) -> None:
    for table in metadata.sorted_tables:
        db.execute(str(CreateTable(table).compile(dialect=DIALECT)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            db.execute(str(CreateIndex(index).compile(dialect=DIALECT)))
    db.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    db.execute("INSERT INTO meta (id, next_id, topology, consumers) VALUES (0, 1, 1, 1)")
    # Session ids start at random: they name lock bytes and sockets, and those of a file that
    # was deleted under live processes must not be taken for those of its successor.
    db.execute("INSERT INTO sqlite_sequence VALUES ('session', ?)", (secrets.randbits(48),))
    db.executemany(
        "INSERT INTO exchange (name, type, durable, version) VALUES (?, ?, 1, 1)",
        [(f"amq.{kind}", kind) for kind in ("direct", "fanout", "topic")],
    )
