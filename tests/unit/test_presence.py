"""What a worker says of itself, and when."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from messaging import MessagingConfig, Route, ServiceCommunicator, codec
from messaging.envelope import Envelope
from tests.support.waiting import eventually


class Order(BaseModel):
    count: int


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(
        broker_url=f"sqlite:///{tmp_path}/broker.sqlite3",
        heartbeat_seconds=100,  # none comes by itself
        suspect_seconds=200,
        down_seconds=300,
    )
    communicator = ServiceCommunicator("x", metadata={"zone": "eu"}, config=config)
    yield communicator
    communicator.presence.stop()
    communicator.close()


@pytest.fixture
def said(service: ServiceCommunicator) -> Callable[[str], list[Any]]:
    """The data of what the gateway was told, by type."""
    heard: list[Envelope] = []

    def listen(message_type: str) -> list[Any]:
        with service.bus.connection() as connection:
            queue = service.bus.topology.service_queue("api-gateway")(connection.channel())
            queue.declare()
            while (message := queue.get(no_ack=True)) is not None:
                heard.append(codec.decode(message.body))
        return [envelope.data for envelope in heard if envelope.type == message_type]

    return listen


def test_schemas_and_metadata_are_registered(
    service: ServiceCommunicator, said: Callable[[str], list[Any]]
) -> None:
    service.on_message("order", schema=Order)(print)
    service.presence.start()
    (registration,) = eventually(lambda: said("service.register"))
    assert registration["schemas"]["order"]["properties"]["count"]["type"] == "integer"
    assert registration["metadata"] == {"pid": os.getpid(), "zone": "eu"}
    assert "load" not in service.presence.health()  # no worker


def test_a_check_that_changes_its_mind_is_heard_before_the_next_heartbeat(
    service: ServiceCommunicator, said: Callable[[str], list[Any]]
) -> None:
    answers = iter(["refused", None])
    service.health_check("database", every=1.0)(lambda: next(answers, None))
    service.presence.start()
    first, second = eventually(lambda: said("service.announce")[1:] and said("service.announce"))
    assert first["checks"] == {"database": {"ok": False, "text": "refused"}}
    assert second["checks"] == {"database": {"ok": True, "text": ""}}


def test_heartbeats_survive_whatever_fails(
    service: ServiceCommunicator, said: Callable[[str], list[Any]]
) -> None:
    reports = iter([KeyError("x"), {"consumed": 1}])

    def load() -> Any:
        report = next(reports)
        if isinstance(report, Exception):
            raise report
        return report

    service.presence.load_of = load
    service.health_check("database", every=1.0)(iter(["one", "two"]).__next__)
    service.presence.start()
    (heartbeat,) = eventually(lambda: said("service.announce"))
    assert heartbeat["load"] == {"consumed": 1}
    (registration,) = said("service.register")
    where = ("name", "id", "version", "host", "port", "healthEndpoint")
    assert [heartbeat[key] for key in where] == [registration[key] for key in where]


def test_routes_that_nothing_will_answer_are_warned_of(
    service: ServiceCommunicator, caplog: pytest.LogCaptureFixture
) -> None:
    routes = [
        Route(path="/api/known", methods=("GET",), message="known.type"),
        Route(path="/api/unknown", methods=("GET",), message="unknown.type"),
        Route(path="/api/web", methods=("GET",)),
    ]
    other = ServiceCommunicator("y", routes=routes, config=service.bus.config)
    other.on_message("known.*")(print)
    other.presence.start()
    eventually(lambda: len(caplog.records) >= 2)
    other.presence.stop()
    other.close()
    texts = [record.getMessage() for record in caplog.records]
    assert [text.split("the route ")[1].split()[0] for text in texts] == [
        "/api/unknown",
        "/api/web",
    ]


def test_what_cannot_be_told_of_the_flow_stops_no_heartbeat(
    service: ServiceCommunicator,
    said: Callable[[str], list[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows: list[list[dict[str, Any]]] = [
        [{"last_error": "\ud800"}],
        [{"last_error": "x" * 300_000}],
        [{"count": 1}],
    ]

    def flow(*, is_last: bool) -> list[dict[str, Any]]:
        return [{"is_last": True}] if is_last else rows.pop(0)

    service.presence.flow_of = flow
    service.presence.start()
    for number in range(1, 4):
        service.presence._is_due.set()
        eventually(lambda number=number: len(said("service.announce")) == number)
    assert [heartbeat.get("flow") for heartbeat in said("service.announce")] == [
        None,
        None,
        [{"count": 1}],
    ]
    assert caplog.text.count("cannot tell what it has handled") == 2
    service.presence.stop()
    (farewell,) = said("service.deregister")
    assert farewell["flow"] == [{"is_last": True}]
