"""Connections to a broker file of each test's own, and a clock that tests move."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

import messaging.transport  # noqa: F401 - makes the scheme known
from messaging.clock import SYSTEM_CLOCK
from messaging.transport.broker import Broker
from messaging.transport.files import files_of


class ManualClock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.passed_seconds = 0.0

    def now(self) -> float:
        return SYSTEM_CLOCK.now() + self.passed_seconds

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic() + self.passed_seconds

    def sleep(self, seconds: float) -> None:
        SYSTEM_CLOCK.sleep(seconds)

    def advance(self, seconds: float) -> None:
        self.passed_seconds += seconds


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/broker.sqlite3"


@pytest.fixture
def connect(url: str) -> Iterator[Callable[..., Any]]:
    opened = []

    def connect(**transport_options: Any) -> Any:
        # Long intervals: what a test waits for must come from the event, not from a sweep.
        options = {"maintenance_seconds": 3600.0, **transport_options}
        connection = kombu.Connection(url, transport_options=options)
        connection.connect()
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(connect: Callable[..., Any]) -> Any:
    return connect()


@pytest.fixture
def channel(connection: Any) -> Any:
    return connection.channel()


@pytest.fixture
def broker(url: str, connection: Any) -> Broker:
    return Broker.at(files_of(url))


@pytest.fixture
def clock(broker: Broker) -> ManualClock:
    manual = ManualClock()
    broker.store.clock = manual
    return manual


@pytest.fixture
def send(connect: Callable[..., Any]) -> Callable[..., None]:
    """Publish text through the default exchange on a connection of its own."""
    producer = connect().Producer(serializer="json")

    def send(body: Any, routing_key: str = "work", **properties: Any) -> None:
        producer.publish(body, routing_key=routing_key, **properties)

    return send


@pytest.fixture
def bodies() -> Callable[[Any, str], list[Any]]:
    """Get and ack all messages of a queue; return what they say."""

    def bodies(channel: Any, queue: str = "work") -> list[Any]:
        found = []
        while (message := channel.basic_get(queue)) is not None:
            found.append(message.payload)
            message.ack()
        return found

    return bodies
