"""What a failure of PostgreSQL means for the message that was being stored, and for its caller."""

import threading

import psycopg
import pytest
from django.db import connection, transaction

from messaging.custody import outbox
from messaging.errors import PublishError, PublishUncertain
from messaging.models import OutboxMessage
from tests.support.outage import Proxy
from tests.support.waiting import eventually
from tests.unit.custody.test_outbox import a_command

pytestmark = pytest.mark.django_db(transaction=True)


def store(message_id: str) -> None:
    outbox.store(a_command(id=message_id, custodian="sender"), under_custody=True)


def stored() -> list[str]:
    return sorted(OutboxMessage.objects.values_list("message_id", flat=True))


def test_who_catches_a_refused_message_keeps_the_rest_of_the_transaction() -> None:
    """A deadlock's victim went on, and its COMMIT was a rollback that nobody told it of."""
    first_are_stored = threading.Barrier(2)
    refused: list[PublishError] = []

    def store_both(name: str, first: str, second: str) -> None:
        with transaction.atomic():
            store(f"of {name}")
            store(first)
            first_are_stored.wait(10)
            try:
                store(second)
            except PublishError as exc:
                refused.append(exc)
        connection.close()

    threads = [
        threading.Thread(target=store_both, args=each)
        for each in (("a", "1", "2"), ("b", "2", "1"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert ["deadlock" in str(exc) for exc in refused] == [True]
    assert stored() == ["1", "2", "of a", "of b"]


def test_an_answer_that_is_lost_leaves_it_open_whether_it_was_stored() -> None:
    """Told that it was not sent, a caller sent it again: two charges."""
    settings = connection.settings_dict
    host, port = settings["HOST"], settings["PORT"]
    connection.close()
    proxy = Proxy(host, int(port))

    def cut_once_it_is_there() -> None:
        look = "SELECT count(*) FROM messaging_outboxmessage WHERE message_id = 'charge'"
        user, name = settings["USER"], settings["NAME"]
        with psycopg.connect(host=host, port=port, user=user, dbname=name) as database:
            database.autocommit = True
            eventually(lambda: database.execute(look).fetchone() == (1,), 10)
        proxy.cut()

    settings["PORT"] = str(proxy.port)
    try:
        store("before")
        proxy.silence()
        cutter = threading.Thread(target=cut_once_it_is_there)
        cutter.start()
        with pytest.raises(PublishUncertain):
            store("charge")
        cutter.join(10)
    finally:
        settings["PORT"] = port
        proxy.cut()
    store("after")  # by a new connection
    assert stored() == ["after", "before", "charge"]
