"""``/metrics``: what Prometheus reads.

Counters of requests are this process's own and begin at 0 with it; gauges of the registry and the
outbox are read from the database when asked for, and are the same from every process.
"""

from collections.abc import Iterator
from typing import Final

from django.db.models import Count
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from gateway_app.models import (
    DeadLetter,
    DeadLetterState,
    RegistryStatus,
    ServiceInstance,
    State,
)
from messaging.models import OPEN, OutboxMessage

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


class _Stored:
    """Gauges from the database, each one query on an index."""

    def collect(self) -> Iterator[Metric]:
        """Yield them; called for each scrape."""
        yield _by(
            "bus_instances",
            "Instances in the registry.",
            "state",
            {state.value: 0 for state in State}
            | dict(
                ServiceInstance.objects.filter(left_at=None)
                .values_list("state")
                .order_by()
                .annotate(Count("pk"))
            ),
        )
        yield _by(
            "bus_outbox_open",
            "Messages under custody, or waiting for the broker, that are not at their end.",
            "state",
            {state.value: 0 for state in OPEN}
            | dict(
                OutboxMessage.objects.filter(due_at__isnull=False)
                .values_list("state")
                .order_by()
                .annotate(Count("pk"))
            ),
        )
        parked = DeadLetter.objects.filter(state=DeadLetterState.PARKED).count()
        yield GaugeMetricFamily("bus_dead_letters", "Dead letters nobody has seen to.", parked)
        status = RegistryStatus.objects.first()
        if status is not None and status.swept_at is not None:
            yield GaugeMetricFamily(
                "bus_registry_swept_timestamp_seconds",
                "When somebody last looked for silent instances.",
                status.swept_at.timestamp(),
            )
        is_silent = status is not None and status.mass_silence_since is not None
        yield GaugeMetricFamily(
            "bus_registry_mass_silence", "1: the registry blames itself.", float(is_silent)
        )


def render() -> bytes:
    """Return all metrics as text. Uses the database.

    Raises:
        DatabaseError: it does not answer; there is half a picture then, so none is given.
    """
    stored = CollectorRegistry()
    stored.register(_Stored())
    return generate_latest(REGISTRY) + generate_latest(stored)


def _by(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
