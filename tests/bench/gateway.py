"""W10: HTTP requests that the gateway passes on over the bus, beside what it answers itself."""

import http.client
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
from tests.bench.measurement import READY_SECONDS, Failed, Measurement
from tests.support.processes import BIN

_CLIENTS: Final = (1, 8)
_SERVICE: Final = "svc0"
_PATHS: Final = {"health": "/health", "route": f"/api/{_SERVICE}"}
#: Registered routes among which one is looked up.
_ROUTES: Final = 10_000
#: Sent on each path before it is timed: connections, the route cache, the reply queue.
_WARM_REQUESTS: Final = 20


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
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as client:
            return [self._ask(client) for _ in range(number, self.requests, self.clients)]

    def _ask(self, client: http.client.HTTPConnection) -> float:
        began = SYSTEM_CLOCK.monotonic()
        client.request("GET", self.path)
        response = client.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise Failed(f"{self.path}: {response.status} {body[:200].decode(errors='replace')}")
        return (SYSTEM_CLOCK.monotonic() - began) * 1e3


def over_http(run: Measurement, variant: str, counts: Counts) -> Outcome:
    """W10: the gateway's server, and one service that answers a route of it."""
    with closing(sqlite3.connect(run.database)) as db, db:
        add_service(db, _SERVICE, "order.echo")
    run.start(variant)
    port = _start_gateway(run)
    values: Values = {}
    for clients in _CLIENTS:
        for name, path in _measured(port):
            answered, latencies = _Load(port, path, clients, counts.http_requests).run()
            values[f"{name}{clients}_s"] = answered
            values |= tail(latencies, f"{name}{clients}_")
    # What the same answer costs without HTTP, beside the same service.
    values |= tail(run.drive("request", counts.http_requests)["lat_ms"], "bus1_")
    values["match_us"] = _seconds_of_match(counts.http_requests) * 1e6
    return Outcome(values)


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


def _start_gateway(run: Measurement) -> int:
    """Start the server as the Procfile does; return its port once it answers."""
    port = servers.free_port()
    process = run.run(
        str(BIN / "uvicorn"),
        "gateway_app.asgi:application",
        "--port",
        str(port),
        BROKER_URL=run.broker_url,
        VAR_DIR=str(run.folder),
        MESSAGING_NAMESPACE=run.namespace,
        DJANGO_SETTINGS_MODULE="gateway_app.settings",
    )
    ends_at = SYSTEM_CLOCK.monotonic() + READY_SECONDS
    while not servers.answers(port):
        if SYSTEM_CLOCK.monotonic() > ends_at or not process.is_running():
            raise Failed(f"the gateway's server did not start: {process.log.read_text()[-400:]}")
        SYSTEM_CLOCK.sleep(0.02)
    return port
