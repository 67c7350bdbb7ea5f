"""W10: HTTP requests that the gateway passes on over the bus, beside what it answers itself."""

import re
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from gateway_app.http.matching import RouteTree, Target
from gateway_app.http.paths import segments_of
from messaging.clock import SYSTEM_CLOCK
from tests.bench import servers
from tests.bench.arithmetic import Outcome, Values, tail
from tests.bench.counts import Counts
from tests.bench.filling import add_service
from tests.bench.gateway_worker import environment
from tests.bench.measurement import READY_SECONDS, Failed, Measurement
from tests.support.processes import BIN

_CLIENTS: Final = (1, 8)
_SERVICE: Final = "svc0"
_PATHS: Final = {"health": "/health", "route": f"/api/{_SERVICE}"}
#: Registered routes among which one is looked up.
_ROUTES: Final = 10_000
#: Sent on each path before it is timed: connections, the route cache, the reply queue.
_WARM_REQUESTS: Final = 200
#: Of a client over HTTP, and of one on the bus.
_TURNS: Final = 4
_READ_BYTES: Final = 65_536
_LENGTH: Final = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Load:
    """Requests of one path by some clients that keep their connections."""

    port: int
    path: str
    clients: int
    requests: int

    def run(self) -> tuple[float, list[float]]:
        """Return how many were answered a second, and how long each took in ms."""
        began = SYSTEM_CLOCK.monotonic()
        with ThreadPoolExecutor(self.clients) as pool:
            parts = list(pool.map(self._client, range(self.clients)))
        seconds = SYSTEM_CLOCK.monotonic() - began
        latencies = [each for part in parts for each in part]
        return len(latencies) / seconds, latencies

    def _client(self, number: int) -> list[float]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return [self._ask(connection) for _ in range(number, self.requests, self.clients)]

    def _ask(self, connection: socket.socket) -> float:
        # As little as HTTP allows: Python's own client takes a fifth of the time measured.
        began = SYSTEM_CLOCK.monotonic()
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % self.path.encode())
        answer = connection.recv(_READ_BYTES)
        while not _is_whole(answer):
            part = connection.recv(_READ_BYTES)
            if not part:
                raise Failed(f"{self.path}: the connection was closed after {answer[:200]!r}")
            answer += part
        seconds = SYSTEM_CLOCK.monotonic() - began
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise Failed(f"{self.path}: {answer[:400]!r}")
        return seconds * 1e3


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head)
    if length is None:
        raise Failed(f"an answer without Content-Length: {head!r}")
    return len(body) >= int(length[1])


def over_http(run: Measurement, variant: str, counts: Counts) -> Outcome:
    """W10: the gateway's server, and one service that answers a route of it."""
    with closing(sqlite3.connect(run.database)) as db, db:
        add_service(db, _SERVICE, "order.echo")
    run.start(variant)
    port = start_gateway(run)
    values: Values = {}
    for clients in _CLIENTS:
        for name, path in _measured(port):
            answered, latencies = _Load(port, path, clients, counts.http_requests).run()
            values[f"{name}{clients}_s"] = answered
            values |= tail(latencies, f"{name}{clients}_")
    over_http, on_the_bus = _in_turns(run, port, counts)
    values |= tail(over_http, "route1_")
    values |= tail(on_the_bus, "bus1_")
    values["match_us"] = _seconds_of_match(counts.http_requests) * 1e6
    return Outcome(values)


def _in_turns(run: Measurement, port: int, counts: Counts) -> tuple[list[float], list[float]]:
    """Return latencies in ms of a route, and of the same request without HTTP.

    Taken in turns, by new clients each time: where the system puts a process makes a fifth.
    """
    over_http: list[float] = []
    on_the_bus: list[float] = []
    for _ in range(_TURNS):
        over_http += _Load(port, _PATHS["route"], 1, counts.http_requests).run()[1]
        on_the_bus += run.drive("request", counts.http_requests)["lat_ms"]
    return over_http, on_the_bus


def _seconds_of_match(times: int) -> float:
    """Return how long it takes to find one of `_ROUTES` routes."""
    tree = RouteTree(
        Target("GET", f"/api/s{n % 100}/r{n}/{{id}}", "s", "m") for n in range(_ROUTES)
    )
    paths = [b"/api/s%d/r%d/7" % (n % 100, n) for n in range(0, _ROUTES, _ROUTES // 100)]
    began = SYSTEM_CLOCK.monotonic()
    for turn in range(times):
        tree.match("GET", segments_of(paths[turn % len(paths)]))
    return (SYSTEM_CLOCK.monotonic() - began) / times


def _measured(port: int) -> Iterator[tuple[str, str]]:
    for name, path in _PATHS.items():
        _Load(port, path, 1, _WARM_REQUESTS).run()
        yield name, path


def start_gateway(run: Measurement) -> int:
    """Start the server as the Procfile does; return its port once it answers."""
    port = servers.free_port()
    process = run.run(
        str(BIN / "uvicorn"),
        "gateway_app.asgi:application",
        "--port",
        str(port),
        "--no-access-log",
        **gateway_environment(run),
    )
    ends_at = SYSTEM_CLOCK.monotonic() + READY_SECONDS
    while not servers.answers(port):
        if SYSTEM_CLOCK.monotonic() > ends_at or not process.is_running():
            raise Failed(f"the gateway's server did not start: {process.log.read_text()[-400:]}")
        SYSTEM_CLOCK.sleep(0.02)
    return port


def gateway_environment(run: Measurement) -> dict[str, str]:
    """Return what the gateway's server is told of a measurement."""
    return {**environment(run), "DJANGO_ALLOWED_HOSTS": "localhost"}
