"""Forgetting what is long over, while others write."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from messaging import MessagePriority, MessagingConfig
from messaging.custody import inbox, retention
from messaging.envelope import utc_now
from messaging.models import InboxMessage
from tests.unit.custody.test_inbox import critical, run_of

CONFIG = MessagingConfig(broker_url="sqlite:////x")


def handled(message_id: str, days_ago: float, **changes: Any) -> None:
    """Have it on record as handled so long ago."""
    then = utc_now() - timedelta(days=days_ago)
    inbox.done(run_of(critical(id=message_id, **changes)))
    rows = InboxMessage.objects.filter(message_id=message_id)
    rows.update(created_at=then, finished_at=then, owes_receipt=False)


@pytest.mark.django_db(transaction=True)
def test_no_writer_waits_while_what_is_remembered_is_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each batch read all that is remembered, with the write lock in hand."""
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(3):
        handled(f"remembered-{number}", 20 - number)
    for number in range(5):
        changes = {"custodian": None, "priority": MessagePriority.NORMAL}
        handled(f"old-{number}", 10 - number / 10, **changes)
    seen: list[tuple[bool, str]] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        seen.append((connection.in_atomic_block, sql))
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        gone = list(retention.purge(CONFIG, utc_now()))
    assert gone == [2, 2, 1, 2, 1]  # the rows, and the payloads of those that are remembered
    left = InboxMessage.objects.values_list("message_id", "envelope")
    assert set(left) == {(f"remembered-{number}", "") for number in range(3)}
    table = InboxMessage._meta.db_table
    locked = [sql for is_locked, sql in seen if is_locked and table in sql]
    assert len(locked) == 6
    assert all('"id" IN (' in sql for sql in locked)
    reads = [
        sql for is_locked, sql in seen if not is_locked and "ORDER BY" in sql and table in sql
    ]
    from_the_start = [sql for sql in reads if '"finished_at" >= ' not in sql]
    assert (len(reads), len(from_the_start)) == (1 + 4 + 1 + 3, 4)


@pytest.mark.django_db
def test_what_was_reopened_after_it_was_found_is_not_forgotten() -> None:
    handled("m", 40)
    (row,) = InboxMessage.objects.all()
    changed = InboxMessage.objects.filter(pk=row.pk)
    found = retention.purge(CONFIG, utc_now())
    real = retention._batches

    def reopen(rows: Any) -> Any:
        for ids in real(rows):
            changed.update(state="ready", due_at=utc_now(), finished_at=None)
            yield ids

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "_batches", reopen)
        assert list(found) == [0]
    assert changed.get().envelope
