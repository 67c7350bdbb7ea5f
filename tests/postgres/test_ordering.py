"""Ordering keys where several transactions write at the same time."""

import threading

import pytest
from django.db import connection, transaction

from messaging.custody import outbox
from messaging.models import OutboxMessage
from tests.support.waiting import eventually
from tests.unit.custody.test_outbox import a_command

pytestmark = pytest.mark.django_db(transaction=True)


def store(message_id: str, key: str) -> None:
    envelope = a_command(id=message_id, ordering_key=key, custodian="sender")
    outbox.store(envelope, under_custody=True, queued=True)


def waiting() -> int:
    """How many transactions wait for another one's commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return int(cursor.fetchone()[0])


def test_messages_of_a_key_are_in_the_order_of_their_commits() -> None:
    def send_second() -> None:
        with transaction.atomic():
            store("second", "k")
        connection.close()

    other = threading.Thread(target=send_second)
    with transaction.atomic():
        store("first", "k")
        other.start()
        eventually(lambda: waiting() == 1, 10)
    other.join(10)
    found = list(OutboxMessage.objects.order_by("pk").values_list("message_id", flat=True))
    assert found == ["first", "second"]


def test_other_keys_do_not_wait() -> None:
    def send_other() -> None:
        with transaction.atomic():
            store("other", "another key")
        connection.close()

    other = threading.Thread(target=send_other)
    with transaction.atomic():
        store("first", "k")
        other.start()
        other.join(10)
        assert not other.is_alive()
