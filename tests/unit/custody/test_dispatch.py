"""What sending costs, and what it leaves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from messaging import MessagePriority, MessagingConfig, ServiceCommunicator
from messaging.envelope import Envelope
from messaging.errors import PublishError
from messaging.events import message_published
from messaging.models import OutboxMessage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("sender", config=config)
    yield communicator
    communicator.close()


def test_accepting_a_critical_message_is_one_statement_in_the_callers_transaction(
    sender: ServiceCommunicator,
) -> None:
    with (
        CaptureQueriesContext(
            connection,
        ) as queries,
        transaction.atomic(),
    ):
        sender.send_to_service("b", "work", {}, priority=MessagePriority.CRITICAL)
    statements = [query["sql"].split()[0] for query in queries.captured_queries]
    assert statements == ["BEGIN", "SAVEPOINT", "INSERT", "RELEASE", "COMMIT"]


@pytest.fixture
def nearly_full() -> Iterator[None]:
    """A database that has room for small rows, and not for a large one."""
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite can be told to be full")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # what other tests have left behind would be room
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count = {pages + 20}")
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count = 1000000000")


def test_a_message_that_a_full_disk_refuses_takes_its_transaction_along_and_says_so(
    sender: ServiceCommunicator, nearly_full: None
) -> None:
    """SQLite has rolled back by itself: what followed was committed without what was before."""
    published: list[str] = []

    def send_both() -> None:
        sender.send_to_service("b", "first", {}, priority="CRITICAL")
        with pytest.raises(PublishError, match="rolled back the transaction"):
            sender.send_to_service("b", "second", "x" * 200_000, priority="CRITICAL")
        sender.send_to_service("b", "third", {}, priority="CRITICAL")

    with (
        on_publish(published),
        pytest.raises((PublishError, TransactionManagementError)),
        transaction.atomic(),
    ):
        send_both()
    assert sender.bus.dispatch.handoff.flush(5)
    assert (published, OutboxMessage.objects.count()) == ([], 0)


@contextmanager
def on_publish(types: list[str]) -> Iterator[None]:
    def note(envelope: Envelope, **_: Any) -> None:
        types.append(envelope.type)

    message_published.connect(note)
    try:
        yield
    finally:
        message_published.disconnect(note)


def test_a_normal_message_touches_no_database(sender: ServiceCommunicator) -> None:
    with CaptureQueriesContext(connection) as queries:
        sender.send_to_service("b", "work", {})
    assert queries.captured_queries == []


def test_a_dedup_key_makes_it_one_message(sender: ServiceCommunicator) -> None:
    ids = {
        sender.send_to_service("b", "work", {}, priority="CRITICAL", dedup_key="order-7")
        for _ in range(2)
    }
    other = sender.send_to_service("b", "work", {}, priority="CRITICAL", dedup_key="order-8")
    assert len(ids) == 1
    assert other not in ids
    assert OutboxMessage.objects.count() == 2


def test_with_the_ledger_for_all_a_normal_message_is_under_custody(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/broker.sqlite3"
    sender = ServiceCommunicator("sender", config=MessagingConfig(broker_url=url, ledger="all"))
    sender.send_to_service("b", "work", {})
    assert OutboxMessage.objects.get().under_custody
    sender.close()


@pytest.mark.parametrize("priority", MessagePriority)
def test_durable_is_under_custody_whatever_its_priority(
    sender: ServiceCommunicator, priority: MessagePriority
) -> None:
    sender.send_to_service("b", "work", {}, priority=priority, durable=True)
    row = OutboxMessage.objects.get()
    assert (row.under_custody, row.priority) == (True, priority)


def test_what_is_worth_nothing_late_is_never_under_custody(sender: ServiceCommunicator) -> None:
    """Its receiver would put nothing on record, and never tell."""
    sender.send_to_service("b", "service.health.check", {}, durable=True)
    assert not OutboxMessage.objects.exists()
