"""What a service says of its HTTP routes and of itself."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import create_model

from messaging import ConfigurationError, MessagePriority, MessagingConfig, Route, codec
from messaging import ServiceCommunicator as Communicator

PATH = {"path": "/api/x"}


def test_only_the_options_given_are_registered() -> None:
    assert Route(path="/api/x").to_json() == {
        "path": "/api/x",
        "methods": ["GET"],
        "message": "",
    }
    full = {
        "path": "/api/x/{id}",
        "methods": ["POST", "PUT"],
        "message": "x.put",
        "priority": "LOW",
        "timeout": 0.5,
        "rate": 0,
        "concurrency": 3,
        "max_body_bytes": 10,
        "auth": "token",
    }
    assert Route.of(full).to_json() == full
    assert Route.of(full).priority is MessagePriority.LOW


@pytest.mark.parametrize(
    ("route", "text"),
    [
        ({"path": "api/x"}, "path: expected a path that starts with /, got 'api/x'"),
        ({**PATH, "methods": "POST"}, "methods: expected a tuple of HTTP methods, got 'POST'"),
        ({**PATH, "message": "a b"}, "message: expected a message type or nothing, got 'a b'"),
        ({**PATH, "priority": "URGENT"}, "priority: expected one of LOW, NORMAL, HIGH, CRITICAL"),
        ({**PATH, "timeout": 0}, "timeout: expected seconds, more than 0, got 0"),
        ({**PATH, "timeout": float("inf")}, "timeout"),
        ({**PATH, "timeout": "5"}, "timeout"),
        ({**PATH, "rate": -1}, "rate: expected requests a second, 0 or more, got -1"),
        ({**PATH, "rate": True}, "rate"),
        ({**PATH, "concurrency": 0}, "concurrency: expected a whole number from 1, got 0"),
        ({**PATH, "max_body_bytes": 1.5}, "max_body_bytes: expected a whole number from 1"),
        ({**PATH, "auth": "basic"}, "auth: expected one of token, none, got 'basic'"),
        ({**PATH, "limit": 5}, "expected keys out of .*, got 'limit'"),
        ({"message": "x"}, "expected a path"),
        ("/api/x", "expected a Route or a dict"),
    ],
)
def test_a_wrong_route_is_told_with_what_was_expected(route: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Communicator("x", routes=[route])


def test_metadata_is_registered_as_it_was_when_it_was_given() -> None:
    metadata = {"zone": "eu-1", "tags": ["a"]}
    communicator = Communicator("x", metadata=metadata)
    metadata["tags"] = []
    data = communicator.identity.to_json(handles=[], subscriptions=[], schemas={})
    assert data["metadata"] == {"pid": os.getpid(), "zone": "eu-1", "tags": ["a"]}


@pytest.mark.parametrize(
    "metadata", [[1], "text", {"at": object()}, {"x": float("nan")}, {"x": "ü" * 2050}]
)
def test_metadata_is_a_small_json_object(metadata: Any) -> None:
    with pytest.raises(ConfigurationError, match="metadata: expected"):
        Communicator("x", metadata=metadata)


def test_a_service_whose_schemas_are_too_large_registers_without_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = MessagingConfig(
        broker_url=f"sqlite:///{tmp_path}/broker.sqlite3", max_message_bytes=4000
    )
    communicator = Communicator("x", config=config)
    fields: dict[str, Any] = {f"field_{number}": (int, ...) for number in range(100)}
    communicator.on_message("order", schema=create_model("Large", **fields))(print)
    communicator.presence._register()
    with communicator.bus.connection() as connection:
        queue = communicator.bus.topology.service_queue("api-gateway")(connection.channel())
        registration = codec.decode(queue.get(no_ack=True).body).data
    communicator.close()
    assert (registration["handles"], registration["schemas"]) == (["order"], {})
    assert "registers without its schemas" in caplog.text
