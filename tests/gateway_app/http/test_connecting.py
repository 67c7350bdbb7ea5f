"""Services that have the gateway connect to where it must not: what becomes of the request."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway_app.http.test_proxy import CONFIG, OK, Server, a_gateway
from tests.support.asgi import AsgiClient
from tests.support.resolver import Resolver

#: One of two addresses of this host may be connected to; what listens on the other is internal.
ONE = replace(CONFIG, upstream_networks="127.0.0.2")
Start = Callable[..., Server]


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[Server] = []

    def start(answer: bytes, host: str = "127.0.0.1", port: int = 0) -> Server:
        servers.append(Server(answer, host, port))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)


def a_metadata_service(resolver: Resolver) -> None:
    resolver.set("metadata.test", ["169.254.169.254"])
    resolver.set("mapped.test", ["::ffff:169.254.169.254"])


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "0xa9.254.0251.254",
        "169.254.43518",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "metadata.test",
        "mapped.test",
    ],
)
def test_metadata_is_not_reached_in_whatever_form_it_is_registered(
    host: str, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    a_metadata_service(resolver)
    with AsgiClient(a_gateway(80, host=host)) as client:
        answer = client.post("/api/x")
    assert answer.status_code == 502
    assert answer.json()["detail"] == "s: AddressRefused: its address is not allowed; not sent"
    logged = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(logged) == 1
    assert logged[0].startswith(f"{host}:80 is not connected to: address ")
    assert logged[0].endswith(" is not allowed: upstream_networks")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0.0.0.0", "0", "::ffff:127.0.0.1"]
)
def test_what_listens_on_the_gateways_own_host_is_not_reached_in_production(
    host: str, start: Start, settings: Any
) -> None:
    server = start(OK)
    with AsgiClient(a_gateway(server.port, host=host)) as client:
        assert client.get("/api/x").status_code == 200
    settings.IS_DEVELOPMENT = False
    open_to_all = replace(CONFIG, http_auth="none")
    with AsgiClient(a_gateway(server.port, host=host, config=open_to_all)) as client:
        answer = client.get("/api/x")
    assert answer.status_code == 502
    assert "127" not in answer.text
    assert len(server.requests) == 1


def test_a_name_that_changes_its_meaning_after_the_check_leads_nowhere_else(
    start: Start, resolver: Resolver
) -> None:
    """DNS rebinding: allowed when it is checked, internal when it would be connected to."""
    internal = start(OK)
    allowed = start(OK, "127.0.0.2", internal.port)
    resolver.set("rebind.test", ["127.0.0.2"], ["127.0.0.1"])
    with AsgiClient(a_gateway(allowed.port, host="rebind.test", config=ONE)) as client:
        assert client.get("/api/x").status_code == 200
        assert resolver.asked == ["rebind.test"]
        assert f"host: rebind.test:{allowed.port}\r\n".encode() in allowed.heads[0]
        # The next connection asks anew, and is checked anew.
        assert client.get("/api/x").status_code == 502
    assert internal.requests == []


def test_of_a_name_with_several_addresses_the_allowed_ones_are_tried(
    start: Start, resolver: Resolver
) -> None:
    internal = start(OK)
    allowed = start(OK, "127.0.0.2", internal.port)
    resolver.set("both.test", ["127.0.0.1", "169.254.169.254", "127.0.0.2"])
    with AsgiClient(a_gateway(allowed.port, host="both.test", config=ONE)) as client:
        assert client.get("/api/x").status_code == 200
    assert internal.requests == []


def test_the_next_allowed_address_is_tried_where_nobody_listens(
    start: Start, resolver: Resolver
) -> None:
    server = start(OK, "127.0.0.2")
    resolver.set("two.test", ["127.0.0.3", "127.0.0.2"])
    with AsgiClient(a_gateway(server.port, host="two.test")) as client:
        assert client.post("/api/x").status_code == 200


def test_a_redirect_is_the_clients_to_follow(start: Start) -> None:
    elsewhere = start(OK)
    location = f"http://127.0.0.1:{elsewhere.port}/latest/meta-data/"
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nConnection: close\r\n"
    redirecting = start(f"{head}Content-Length: 0\r\n\r\n".encode())
    with AsgiClient(a_gateway(redirecting.port)) as client:
        answer = client.get("/api/x")
    assert (answer.status_code, answer.headers["location"]) == (302, location)
    assert elsewhere.requests == []


def test_who_is_refused_fails_as_who_does_not_answer(start: Start) -> None:
    """Another instance has the request; after five failures nobody tries that one any more."""
    well = start(OK, "127.0.0.2")
    gateway = a_gateway(well.port, host="127.0.0.1", config=ONE)
    with AsgiClient(gateway) as client:
        statuses = [client.get("/api/x").status_code for _ in range(6)]
    assert statuses == [502] * 5 + [503]


def test_a_host_name_that_nobody_could_have_is_a_502(resolver: Resolver) -> None:
    with AsgiClient(a_gateway(80, host=f"{'x' * 64}.test")) as client:
        assert client.post("/api/x").status_code == 502


def test_a_name_that_is_not_found_in_time_is_a_502(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any, **__: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with AsgiClient(a_gateway(80, host="slow.test")) as client:
        answer = client.post("/api/x")
    assert answer.status_code == 502
    assert "not sent" in answer.json()["detail"]
