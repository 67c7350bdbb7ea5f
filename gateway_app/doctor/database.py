"""The database: it answers, takes what is written, and has the tables of this code."""

import sqlite3
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import NotSupportedError

from gateway_app import traps
from gateway_app.doctor.finding import Finding, LayerBroken, fine, trapped
from gateway_app.models import Lease
from gateway_app.ops import figures
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now

#: RETURNING came with this version of SQLite.
LEAST_SQLITE: Final = (3, 35)
#: A clock that is so far off makes leases lapse early, and retries come late.
CLOCK_SECONDS: Final = 2.0
#: What PostgreSQL calls the processes that count.
_CLIENT: Final = "client backend"
#: Of PostgreSQL's connections; the last ones are kept for administrators.
MOST_CONNECTIONS_SHARE: Final = 0.8


def look() -> Iterator[Finding]:
    """Yield whether it can be worked with."""
    began = SYSTEM_CLOCK.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except NotSupportedError as exc:  # Django's own bound, of a version
        raise LayerBroken("Database", traps.OLD_DATABASE, str(exc)) from exc
    except DatabaseError as exc:
        raise LayerBroken("Database", traps.NO_DATABASE, str(exc)) from exc
    took = figures.duration_text(SYSTEM_CLOCK.monotonic() - began)
    yield fine("Database", f"{connection.vendor} answers, {took}")
    if connection.vendor == "sqlite" and sqlite3.sqlite_version_info < LEAST_SQLITE:
        raise LayerBroken("Version", traps.OLD_DATABASE, f"SQLite {sqlite3.sqlite_version}")
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        text = f"{figures.plural(len(missing), 'migration')} to apply"
        raise LayerBroken("Migrations", traps.MIGRATIONS, text)
    yield fine("Migrations", "up to date")
    yield _write()
    if connection.vendor == "postgresql":
        yield from _postgresql()


def _write() -> Finding:
    try:
        with transaction.atomic():
            Lease.objects.create(
                role=f"doctor-{uuid.uuid4().hex}", holder="doctor", expires_at=utc_now()
            )
            transaction.set_rollback(True)
    except DatabaseError as exc:
        raise LayerBroken("Writing", traps.DATABASE_READ_ONLY, str(exc)) from exc
    return fine("Writing", "takes a row, and takes it back")


def _postgresql() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        before = utc_now()
        cursor.execute("SELECT clock_timestamp(), current_setting('max_connections')::int")
        at, most = cursor.fetchone()
        after = utc_now()
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = %s", [_CLIENT])
        (used,) = cursor.fetchone()
    yield _clock(at, before, after)
    text = f"{used} of {most} in use"
    if used > MOST_CONNECTIONS_SHARE * most:
        yield trapped("Connections", traps.FEW_CONNECTIONS, text)
    else:
        yield fine("Connections", text)


def _clock(at: datetime, before: datetime, after: datetime) -> Finding:
    """Return how far the database's clock is off, at least: it was read in between."""
    seconds = max((at - after).total_seconds(), (before - at).total_seconds(), 0.0)
    if seconds > CLOCK_SECONDS:
        text = f"database and this host are {figures.duration_text(seconds)} apart"
        return trapped("Clock", traps.DATABASE_CLOCK, text)
    return fine("Clock", "database and this host agree")
