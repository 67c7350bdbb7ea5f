"""Statements past Django's cursors: what they write and read is what Django would."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from messaging.custody import hot, outbox, sql
from messaging.models import OutboxMessage
from tests.unit.custody.test_inbox import critical

pytestmark = pytest.mark.django_db

INSTANTS = (
    datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    datetime(2026, 1, 2, 3, 4, 5, 0, UTC),
    datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=5, minutes=30))),
)


@pytest.mark.parametrize("instant", INSTANTS)
def test_an_instant_is_written_as_django_writes_it(instant: datetime) -> None:
    outbox.store(critical(), under_custody=True)
    OutboxMessage.objects.update(due_at=instant)  # Django's
    later = instant + timedelta(hours=1)
    values = {"now": instant, "held_due_at": instant, "due_at": later, "urgency": 3, "limit": 9}
    (row,) = hot.CLAIM_DUE.fetch_all(values)  # ours compares with it
    assert row[2] == "m"
    assert OutboxMessage.objects.get().due_at == later


def test_an_instant_that_is_read_is_aware() -> None:
    assert sql.instant("2026-01-02 03:04:05.678901") == INSTANTS[0]
    assert sql.instant(None) is None


def test_who_watches_statements_sees_them_and_they_do_the_same() -> None:
    with CaptureQueriesContext(
        connection,
    ) as seen:
        outbox.store(critical(), under_custody=True)
    assert any("INSERT" in query["sql"] for query in seen)
    watched = OutboxMessage.objects.values().get()
    OutboxMessage.objects.all().delete()
    outbox.store(critical(), under_custody=True)
    unwatched = OutboxMessage.objects.values().get()
    changing = {"id", "created_at", "due_at", "envelope"}
    assert {k: v for k, v in watched.items() if k not in changing} == {
        k: v for k, v in unwatched.items() if k not in changing
    }


def test_errors_are_djangos() -> None:
    insert = sql.Statement(
        f"INSERT INTO {OutboxMessage._meta.db_table} (message_id) VALUES (%(id)s)"
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        insert.run({"id": "m"})


def test_a_transaction_that_must_be_rolled_back_takes_no_more() -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(TransactionManagementError):
            hot.horizon_of("b", "a", in_custody=True)
