"""``/metrics``: what Prometheus reads.

Counters of requests are this process's own and begin at 0 with it; what the database tells is in
`stored_metrics`, and the same from every process.
"""

import ipaddress
from functools import lru_cache
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from gateway_app.stored_metrics import Stored

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: Seconds; from a message's round trip to the longest wait.
_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: The route of requests that none matched: paths are the clients', and without number.
NO_ROUTE: Final = ""

REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "gateway_requests_total",
    "Requests to /api/ and /bus/, by route and status; 499: the client went away.",
    ("service", "method", "route", "status"),
    registry=REGISTRY,
)
SECONDS: Final = Histogram(
    "gateway_request_seconds",
    "Time from the head of a request to the end of its response.",
    ("service", "route"),
    buckets=_BUCKETS,
    registry=REGISTRY,
)
IN_FLIGHT: Final = Gauge(
    "gateway_requests_in_flight", "Requests not yet answered.", registry=REGISTRY
)
UPSTREAM_FAILURES: Final = Counter(
    "gateway_upstream_failures_total",
    "Tries at an instance that came to nothing, or 502, 503 or 504.",
    ("service",),
    registry=REGISTRY,
)
BREAKERS_OPEN: Final = Gauge(
    "gateway_breakers_open", "Instances that get no proxied requests for now.", registry=REGISTRY
)
UNAUTHORIZED: Final = Counter(
    "gateway_unauthorized_total",
    "Requests without a valid API token where one is needed, by client.",
    ("client",),
    registry=REGISTRY,
)
#: Clients counted by name; more would let anybody fill memory with series.
MOST_CLIENTS: Final = 100
OTHER_CLIENTS: Final = "other"
_clients: Final[set[str]] = set()


def count_unauthorized(client: str) -> None:
    """Count a request that was refused for want of a token.

    Args:
        client: its address. Of IPv6 the network of 64 bits counts: one client may have it whole.
    """
    name = _network_of(client)
    if name not in _clients and len(_clients) >= MOST_CLIENTS:
        name = OTHER_CLIENTS
    _clients.add(name)
    UNAUTHORIZED.labels(name).inc()


@lru_cache(maxsize=4096)
def of_route(service: str, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Return what counts requests of a route, and their time. Finding them costs as much again."""
    return REQUESTS.labels(service, method, route, status), SECONDS.labels(service, route)


def render() -> bytes:
    """Return all metrics as text. Uses the database.

    Raises:
        DatabaseError: it does not answer; there is half a picture then, so none is given.
    """
    stored = CollectorRegistry()
    stored.register(Stored())
    return generate_latest(REGISTRY) + generate_latest(stored)


def _network_of(client: str) -> str:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:  # whatever a proxy in front calls it
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
