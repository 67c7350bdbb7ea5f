"""What a failure of PostgreSQL means for the message that was being stored, and for its caller."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection, transaction

from gateway_app.http import durable
from gateway_app.http.matching import Target
from messaging import MessagePriority
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


@contextmanager
def cut_once_stored(look: str) -> Iterator[Proxy]:
    """Have the connection of this thread go through a proxy, which is cut once that is there."""
    settings = connection.settings_dict
    host, port, user, name = (settings[each] for each in ("HOST", "PORT", "USER", "NAME"))
    connection.close()
    proxy = Proxy(host, int(port))

    def cut() -> None:
        with psycopg.connect(host=host, port=port, user=user, dbname=name) as database:
            database.autocommit = True
            eventually(lambda: database.execute(look).fetchone() == (1,), 10)
        proxy.cut()

    settings["PORT"] = str(proxy.port)
    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        yield proxy
        cutter.join(15)
    finally:
        settings["PORT"] = port
        proxy.cut()


def test_an_answer_that_is_lost_leaves_it_open_whether_it_was_stored() -> None:
    """Told that it was not sent, a caller sent it again: two charges."""
    look = "SELECT count(*) FROM messaging_outboxmessage WHERE message_id = 'charge'"
    with cut_once_stored(look) as proxy:
        store("before")
        proxy.silence()
        with pytest.raises(PublishUncertain):
            store("charge")
    store("after")  # by a new connection
    assert stored() == ["after", "before", "charge"]


def test_a_commit_whose_answer_is_lost_is_not_called_not_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = "SELECT count(*) FROM messaging_outboxmessage WHERE type = 'charge'"
    target = Target("POST", "/api/charge", "billing", "charge")
    with cut_once_stored(look) as proxy:
        # The last that is done before the commit.
        monkeypatch.setattr(durable, "_check_same", lambda *_: proxy.silence())
        with pytest.raises(PublishUncertain, match="maybe accepted"):
            durable._accept(target, {}, MessagePriority.NORMAL, "key", "")
    connection.close()
    assert OutboxMessage.objects.get().type == "charge"
