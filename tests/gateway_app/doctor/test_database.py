import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from gateway_app import traps
from gateway_app.doctor import database, relay
from gateway_app.models import Lease
from messaging.envelope import utc_now
from messaging.models import InboxMessage, OutboxMessage
from tests.gateway_app.doctor.found import findings, ids

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_sound_database_has_no_finding_and_keeps_nothing_of_the_look() -> None:
    assert ids(database.look) == set()
    assert "Writing" in [finding.name for finding in findings(database.look)]
    assert not Lease.objects.exists()


@pytest.fixture
def read_only() -> Iterator[None]:
    on, off = {
        "sqlite": ("PRAGMA query_only = 1", "PRAGMA query_only = 0"),
        "postgresql": (
            "SET default_transaction_read_only = on",
            "SET default_transaction_read_only = off",
        ),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(on)
    yield
    with connection.cursor() as cursor:
        cursor.execute(off)


def test_a_database_that_is_only_read_is_found(read_only: None) -> None:
    assert ids(database.look) == {traps.DATABASE_READ_ONLY.id}


def test_a_sqlite_library_that_is_too_old_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("of SQLite")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    assert ids(database.look) == {traps.OLD_DATABASE.id}


def test_a_database_with_another_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("of a server, which has a clock of its own")
    monkeypatch.setattr(database, "utc_now", lambda: utc_now() + timedelta(minutes=1))
    assert ids(database.look) == {traps.DATABASE_CLOCK.id}


def test_a_postgresql_server_with_few_connections_left_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("of PostgreSQL")
    monkeypatch.setattr(database, "MOST_CONNECTIONS_SHARE", 0.0)
    assert ids(database.look) == {traps.FEW_CONNECTIONS.id}


def test_what_nobody_relays_is_found() -> None:
    assert ids(relay.look) == set()
    now = utc_now()
    row: dict[str, Any] = {
        "message_id": "m1",
        "source": "a",
        "type": "t",
        "priority": "NORMAL",
        "created_at": now,
    }
    due_at = now - timedelta(seconds=10)
    sent: dict[str, Any] = {"target": "b", "urgency": 1, "under_custody": True, "state": "pending"}
    OutboxMessage.objects.create(**row, **sent, due_at=due_at)
    assert ids(relay.look) == set()  # it may be its turn in a moment
    OutboxMessage.objects.update(due_at=now - timedelta(minutes=5))
    assert ids(relay.look) == {traps.LATE.id}
    OutboxMessage.objects.all().delete()
    due_at = now - timedelta(minutes=5)
    InboxMessage.objects.create(**row, service="b", due_at=due_at, state="waiting")
    assert ids(relay.look) == {traps.LATE.id}
