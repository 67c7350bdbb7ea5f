"""A worker whose channel the broker closes: it opens another one, and lives."""

import pytest
from kombu import Connection

from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def test_what_is_missing_on_the_broker_ends_no_worker(installation: Installation) -> None:
    if installation.features.name != "amqp":
        pytest.skip("only RabbitMQ closes channels")
    worker = installation.start_worker("probe")
    # Where the worker says every two seconds that it lives.
    exchange = f"{installation.namespace}.bus.celeryev"
    with Connection(installation.url) as connection:
        connection.channel().exchange_delete(exchange)
    eventually(lambda: b"NOT_FOUND" in worker.log.read_bytes(), 20, "it is told")
    with Connection(installation.url) as connection:
        # It makes all that it needs anew.
        eventually(lambda: exchange_exists(connection, exchange), 20, "it is back")
    asker = installation.communicator()
    assert asker.request("probe", "echo", 1, timeout=20) == 1
    assert worker.is_running()
    assert b"Unrecoverable" not in worker.log.read_bytes()


def exchange_exists(connection: Connection, name: str) -> bool:
    try:
        connection.channel().exchange_declare(name, type="", passive=True)
    except connection.channel_errors:
        return False
    return True
