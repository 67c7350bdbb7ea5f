"""Proxied requests against real sockets that answer well, badly, or not at all."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from gateway_app.http.application import Gateway
from gateway_app.http.breaker import BreakerState
from gateway_app.http.matching import Target
from gateway_app.http.routing import Instance, Routing, RoutingCache, ServiceEntry
from messaging import MessagingConfig
from tests.support.asgi import AsgiClient

CONFIG = MessagingConfig(broker_url="sqlite:////x", http_timeout_seconds=1.0)
METHODS = ("GET", "PUT", "POST")
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
CANNOT = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Answers every connection's first request with the same bytes, then closes it."""

    def __init__(self, answer: bytes, host: str = "127.0.0.1", port: int = 0) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        #: First lines of what came.
        self.requests: list[bytes] = []
        self._listener = socket.create_server((host, port))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):  # the gateway may have gone away
                connection.settimeout(5)
                head = connection.recv(65_536)
                if head:
                    self.heads.append(head)
                    self.requests.append(head.partition(b"\r\n")[0])
                connection.sendall(self.answer)


Start = Callable[[bytes], Server]


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[Server] = []

    def start(answer: bytes) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def a_gateway(
    *ports: int, host: str = "127.0.0.1", config: MessagingConfig = CONFIG, **target: int
) -> Gateway:
    """A gateway with one service whose instances are tried in this order."""
    targets = [Target(method, "/api/x", "s", "", **target) for method in METHODS]  # type: ignore[arg-type]
    entry = ServiceEntry(
        "s",
        targets=tuple(enumerate(targets)),
        instances=tuple(
            Instance(f"i{number}", host, port, "UP") for number, port in enumerate(ports)
        ),
    )
    routing = Routing.of(1, {1: entry})
    return Gateway(config, RoutingCache(lambda _known: routing))


def closed_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(("method", "others"), [("GET", 1), ("PUT", 1), ("POST", 0)])
@pytest.mark.parametrize("answer", [b"", CANNOT], ids=["closes", "503"])
def test_what_may_have_been_handled_goes_elsewhere_only_if_it_may_be_done_twice(
    start: Start, answer: bytes, method: str, others: int
) -> None:
    first, second = start(answer), start(OK)
    with AsgiClient(a_gateway(first.port, second.port)) as client:
        status = client.request(method, "/api/x", content=b"body").status_code
    assert (len(first.requests), len(second.requests)) == (1, others)
    assert status == (200 if others else 503 if answer else 502)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_not_sent_goes_elsewhere_whatever_it_is(start: Start, method: str) -> None:
    well = start(OK)
    with AsgiClient(a_gateway(closed_port(), well.port)) as client:
        assert client.request(method, "/api/x", content=b"body").status_code == 200


def test_a_body_that_is_not_at_hand_any_more_is_sent_once(start: Start) -> None:
    first, second = start(b""), start(OK)
    with AsgiClient(a_gateway(first.port, second.port)) as client:
        assert client.put("/api/x", content=b"x" * 1_000_000).status_code == 502
    assert second.requests == []


def test_three_instances_are_tried_at_most(start: Start) -> None:
    servers = [start(b"") for _ in range(4)]
    with AsgiClient(a_gateway(*(server.port for server in servers))) as client:
        assert client.get("/api/x").status_code == 502
    assert [len(server.requests) for server in servers] == [1, 1, 1, 0]


def test_an_instance_that_failed_five_times_is_not_asked_again(start: Start) -> None:
    ill = start(b"")
    with AsgiClient(a_gateway(ill.port)) as client:
        statuses = [client.get("/api/x").status_code for _ in range(8)]
        last = client.get("/api/x")
    assert statuses == [502] * 5 + [503] * 3
    assert len(ill.requests) == 5
    assert 1 <= int(last.headers["retry-after"]) <= CONFIG.breaker_open_seconds


def test_what_no_instance_could_read_says_nothing_of_the_instances(start: Start) -> None:
    well = start(OK)
    gateway = a_gateway(well.port)
    with AsgiClient(gateway) as client:
        refused = client.get("/api/x", headers={"x-bad": "a\x00b"})
        assert client.get("/api/x", headers={"x-spaced": " a "}).status_code == 200
    assert refused.status_code == 400
    assert gateway._proxy.upstreams.count_open() == 0
    assert {u.breaker.state for u in gateway._proxy.upstreams._known.values()} == {
        BreakerState.CLOSED
    }


@pytest.mark.parametrize("host", ["é.example", "no-such-host.invalid"])
def test_an_address_that_is_none_is_that_instances_failure(host: str) -> None:
    with AsgiClient(a_gateway(80, host=host)) as client:
        assert client.post("/api/x").status_code == 502


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: a\r\n\r\n", 304),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", 502),
        (b"SSH-2.0-nobody\r\n", 502),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
    ],
)
def test_odd_answers_are_passed_on_or_are_a_502(start: Start, answer: bytes, status: int) -> None:
    with AsgiClient(a_gateway(start(answer).port)) as client:
        response = client.post("/api/x")
    assert response.status_code == status
    assert "content-length" not in response.headers or status not in (204, 304)


def test_a_client_that_stops_sending_is_told_so_and_lets_go_of_its_place(start: Start) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(3)

    gateway = a_gateway(start(OK).port)
    with AsgiClient(gateway) as client:
        assert client.post("/api/x", content=stalled()).status_code == 408
    assert gateway._limits.in_flight == 0


def test_headers_without_end_are_refused(start: Start) -> None:
    with AsgiClient(a_gateway(start(OK).port)) as client:
        assert client.get("/api/x", headers={"x-long": "x" * 70_000}).status_code == 431
