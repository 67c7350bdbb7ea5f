"""Installations whose services leave effects that can be counted."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.support.installation import Installation
from tests.support.outage import make_vhost, rabbitmqctl
from tests.support.processes import Process


class Ledger:
    """Counts what was sent, handled and done in one installation."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._database = installation.database()
        self._database.execute("CREATE TABLE effect (message_id TEXT, service TEXT, number INT)")

    def one(self, statement: str, *parameters: Any) -> int:
        return int(self._database.execute(statement, parameters).fetchone()[0])

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        return self._database.execute(statement, parameters).fetchall()

    @property
    def effects(self) -> int:
        return self.one("SELECT count(*) FROM effect")

    @property
    def messages_with_effect(self) -> int:
        return self.one("SELECT count(DISTINCT message_id || service) FROM effect")

    def outbox(self, state: str) -> int:
        return self.one("SELECT count(*) FROM messaging_outboxmessage WHERE state = ?", state)

    def inbox(self, state: str) -> int:
        return self.one("SELECT count(*) FROM messaging_inboxmessage WHERE state = ?", state)

    @property
    def unaccounted(self) -> int:
        """Sent under custody and without an end, and nobody answers for it."""
        return self.one(
            "SELECT count(*) FROM messaging_outboxmessage o WHERE o.under_custody "
            "AND o.state = 'accepted' AND NOT EXISTS (SELECT 1 FROM messaging_inboxmessage i "
            "WHERE i.message_id = o.message_id AND i.service = o.target)"
        )


@pytest.fixture
def vhost(installation: Installation) -> Iterator[None]:
    """A RabbitMQ virtual host of its own, which can be reset."""
    if installation.features.name != "amqp":
        yield
        return
    name, shared_url = f"t{uuid.uuid4().hex[:8]}", installation.url
    make_vhost(name)
    installation.url = urlunsplit(urlsplit(shared_url)._replace(path=f"/{name}"))
    yield
    installation.url = shared_url
    rabbitmqctl("delete_vhost", name)


@pytest.fixture
def ledger(installation: Installation) -> Ledger:
    return Ledger(installation)


@pytest.fixture
def start_counter(installation: Installation) -> Callable[..., Process]:
    """Start a worker of `tests.support.effects`; returns at once."""

    def start(service: str = "counter", **env: str) -> Process:
        installation._services.add(service)
        return installation.start(
            service,
            "celery",
            "-A",
            "tests.support.effects",
            "worker",
            EFFECTS_SERVICE=service,
            **env,
        )

    return start
