"""The big set-up: PostgreSQL, and RabbitMQ with quorum queues."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.support.brokers import BROKERS, require
from tests.support.installation import Installation
from tests.support.outage import make_vhost, rabbitmqctl
from tests.support.processes import Process
from tests.support.waiting import eventually

COUNT = 300
KILLS = 3


@pytest.fixture
def installation(tmp_path: Path, migrated_database: Path) -> Iterator[Installation]:
    """One with a database and a virtual host of its own."""
    server = urlsplit(os.environ["DATABASE_URL"])
    assert server.scheme == "postgres", "run it by `make test-postgres`"
    require(BROKERS["amqp"])
    name = f"t{uuid.uuid4().hex[:8]}"
    with closing(psycopg.connect(_for_psycopg(server.geturl()), autocommit=True)) as database:
        database.execute(f"CREATE DATABASE {name}")
    make_vhost(name)
    private = Installation(BROKERS["amqp"], tmp_path, migrated_database)
    private.url = urlunsplit(urlsplit(private.url)._replace(path=f"/{name}"))
    private.settings["rabbitmq_queues"] = "quorum"
    private.variables["DATABASE_URL"] = urlunsplit(server._replace(path=f"/{name}"))
    private.manage("migrate", "--verbosity=0").check_returncode()
    yield private
    private.close()
    rabbitmqctl("delete_vhost", name)


def _for_psycopg(url: str) -> str:
    return url.replace("postgres://", "postgresql://", 1)


def test_critical_messages_have_one_effect_each_while_workers_are_killed(
    installation: Installation,
) -> None:
    url = _for_psycopg(installation.variables["DATABASE_URL"])
    with closing(psycopg.connect(url, autocommit=True)) as database:

        def one(query: str) -> Any:
            row = database.execute(query).fetchone()
            assert row is not None
            return row[0]

        database.execute("CREATE TABLE effect (message_id TEXT, service TEXT, number INT)")
        message = {"target": "counter", "type": "count", "data": {"seconds": 0.02}}
        installation.send({**message, "priority": "CRITICAL"} for _ in range(COUNT))
        worker = _start_counter(installation)
        for number in range(KILLS):
            least = COUNT // 10 * (number + 1)
            eventually(lambda so_many=least: one("SELECT count(*) FROM effect") >= so_many, 60)
            worker.kill()
            assert one("SELECT count(*) FROM effect") < COUNT
            worker = _start_counter(installation)
        handled = "SELECT count(*) FROM messaging_outboxmessage WHERE state = 'handled'"
        eventually(lambda: one(handled) == COUNT, 60)
        assert one("SELECT count(*) FROM effect") == COUNT
        assert one("SELECT count(DISTINCT message_id) FROM effect") == COUNT
    account = json.loads(installation.manage("bus_account", "--json").stdout)
    assert (account["accepted"], account["handled"], account["unaccounted"]) == (COUNT, COUNT, 0)


def _start_counter(installation: Installation) -> Process:
    installation._services.add("counter")
    command = ("celery", "-A", "tests.support.effects", "worker")
    return installation.start("counter", *command, EFFECTS_SERVICE="counter")
