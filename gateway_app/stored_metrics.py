"""What Prometheus reads of the database: the same from every process, whoever is asked.

Counters are those of small tables that only ever grow (`flow.totals`, `parked_totals`), so a new
process goes on where the last one was. A scrape makes a dozen queries; what each costs:

* the small tables (totals, services, instances, the last look at the queues): their size;
* open rows of outbox and inbox, and parked dead letters: their number, by an index of those alone.
  The ledger behind them, of any size, is not read.

Labels are services, priorities, states and reasons: there are as many series as these have.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from django.db.models import Count, Min, Q
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway_app import parked_totals
from gateway_app.flow import queues, totals
from gateway_app.models import (
    DeadLetter,
    DeadLetterState,
    QueuePause,
    RegistryStatus,
    Service,
    ServiceInstance,
    State,
)
from messaging import MessagePriority
from messaging.envelope import utc_now
from messaging.histogram import Histogram, upper_bound
from messaging.models import UNDER_WAY, InboxMessage, InboxState, OutboxMessage, OutboxState

#: Seconds, 2 ms to 2 hours. Powers of two: `messaging.histogram` has buckets that end there.
BUCKETS: Final = tuple(2.0**power for power in (-9, -7, -5, -3, -1, 0, 1, 3, 5, 7, 10, 13))


class Stored:
    """A collector of everything that the database tells."""

    def collect(self) -> Iterator[Metric]:
        """Yield it; called for each scrape. Raises DatabaseError."""
        now = utc_now()
        yield from _registry()
        yield from _flow()
        yield from _queues()
        yield from _outbox(now)
        yield from _dead_letters()


def _registry() -> Iterator[Metric]:
    instances = Counter[tuple[str, str]]()
    found = ServiceInstance.objects.filter(left_at=None).order_by()
    for name, state, count in found.values_list("service__name", "state").annotate(Count("pk")):
        instances[name, state] += count
    names = {name for name, _ in instances}
    # A tracked service is missed when it has none.
    names.update(Service.objects.filter(tracked=True).values_list("name", flat=True))
    total = GaugeMetricFamily("bus_instances", "Instances in the registry.", labels=["state"])
    by_service = GaugeMetricFamily(
        "bus_service_instances",
        "Instances by service; those of a tracked service also while it has none.",
        labels=["service", "state"],
    )
    for state in State:
        total.add_metric([state.value], sum(instances[name, state.value] for name in names))
        for name in sorted(names):
            by_service.add_metric([name, state.value], instances[name, state.value])
    yield total
    yield by_service
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


def _flow() -> Iterator[Metric]:
    labels = ["service", "priority"]
    handled = CounterMetricFamily(
        "bus_handled", "Messages that a service handled, a few seconds late.", labels=labels
    )
    failed = CounterMetricFamily(
        "bus_failed_attempts", "Attempts that failed: tried again later, or parked.", labels=labels
    )
    waiting = HistogramMetricFamily(
        "bus_wait_seconds",
        "From sent to begun; the sum is up to a quarter too long.",
        labels=labels,
    )
    handling = HistogramMetricFamily(
        "bus_handling_seconds",
        "Time with the handler; the sum is up to a quarter too long.",
        labels=labels,
    )
    latency = HistogramMetricFamily(
        "bus_latency_seconds",
        "From sent to handled, of messages that were; the sum is up to a quarter too long.",
        labels=labels,
    )
    for place, deliveries in totals.all_of_them():
        handled.add_metric(place, deliveries.count - deliveries.failures)
        failed.add_metric(place, deliveries.failures)
        waiting.add_metric(place, *cumulative(deliveries.waiting))
        handling.add_metric(place, *cumulative(deliveries.handling))
        latency.add_metric(place, *cumulative(deliveries.total))
    yield from (handled, failed, waiting, handling, latency)


def cumulative(counts: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Return a histogram as Prometheus has them: how many up to each of `BUCKETS`, and the sum."""
    bounds = [(upper_bound(number), count) for number, count in counts.items()]
    buckets = [
        (str(most), float(sum(count for bound, count in bounds if bound <= most)))
        for most in BUCKETS
    ]
    buckets.append(("+Inf", float(sum(counts.values()))))
    return buckets, sum(bound * count for bound, count in bounds)


def _queues() -> Iterator[Metric]:
    """Yield what waited at the last look, of services for which something did."""
    looked_at, found = queues.last()
    waiting = GaugeMetricFamily(
        "bus_queue_waiting",
        "Messages that wait for a service; the priority is empty where the broker does not tell.",
        labels=["service", "priority"],
    )
    oldest = GaugeMetricFamily(
        "bus_queue_oldest_seconds",
        "Age of the oldest message that waits, where the broker tells.",
        labels=["service"],
    )
    for service, depth in found.items():
        by_priority = {"": depth.waiting} if depth.by_priority is None else depth.by_priority
        for priority, count in by_priority.items():
            waiting.add_metric([service, priority], count)
        if depth.oldest_seconds is not None:
            oldest.add_metric([service], depth.oldest_seconds)
    if looked_at is not None:
        yield GaugeMetricFamily(
            "bus_queues_looked_at_timestamp_seconds",
            "When it was last looked what waits; waiting and oldest are of then.",
            looked_at.timestamp(),
        )
    yield waiting
    yield oldest
    yield _by_service(
        "bus_service_paused",
        "1 of a service that an operator has paused: it takes no messages.",
        dict.fromkeys(
            QueuePause.objects.filter(is_draining=False).values_list("service__name", flat=True), 1
        ),
    )


def _outbox(now: datetime) -> Iterator[Metric]:
    """Yield what is under custody, or waits for the broker or a retry, and is not at its end."""
    count = GaugeMetricFamily(
        "bus_outbox_open",
        "Messages under custody, or waiting for the broker, that are not at their end.",
        labels=["priority", "state"],
    )
    oldest = GaugeMetricFamily(
        "bus_outbox_oldest_seconds",
        "Since the oldest message that is not at its end was put on record; not yet due apart.",
        labels=["priority"],
    )
    lag = GaugeMetricFamily(
        "bus_outbox_lag_seconds",
        "For how long somebody should have looked at a row that is due, and has not.",
        labels=["priority"],
    )
    # Sent with a delay, and nobody has tried yet: it is early, not late.
    delayed = Q(
        state=OutboxState.PENDING, due_at__gt=now, failures=0, publishes=0, held_at__isnull=True
    )
    rows = (
        OutboxMessage.objects.filter(due_at__isnull=False)
        .order_by()
        .values_list("priority", "state")
        .annotate(
            number=Count("pk"),
            oldest_at=Min("created_at", filter=~delayed),
            first_due_at=Min("due_at"),
        )
    )
    found = {(priority, state): values for priority, state, *values in rows}
    for each in MessagePriority:
        of_priority = {
            state: found.get((each.value, state), (0, None, None)) for state in UNDER_WAY
        }
        for state, (number, _, _) in of_priority.items():
            count.add_metric([each.value, state.value], number)
        oldest.add_metric([each.value], _age(now, (row[1] for row in of_priority.values())))
        lag.add_metric([each.value], _age(now, (row[2] for row in of_priority.values())))
    yield from (count, oldest, lag)
    yield _by_service(
        "bus_outbox_held",
        "Messages that wait for a service that is down.",
        dict(
            OutboxMessage.objects.filter(held_at__isnull=False)
            .order_by()
            .values_list("target")
            .annotate(Count("pk"))
        ),
    )
    yield _by_service(
        "bus_outbox_queued",
        "Messages that wait for those before them of their ordering key.",
        dict(
            OutboxMessage.objects.filter(state=OutboxState.QUEUED)
            .order_by()
            .values_list("target")
            .annotate(Count("pk"))
        ),
    )
    yield _by_service(
        "bus_retries_waiting",
        "Messages that failed and are tried again later.",
        dict(
            InboxMessage.objects.filter(due_at__isnull=False, state=InboxState.WAITING)
            .order_by()
            .values_list("service")
            .annotate(Count("pk"))
        ),
    )


def _dead_letters() -> Iterator[Metric]:
    labels = ["service", "reason"]
    parked = GaugeMetricFamily(
        "bus_dead_letters", "Dead letters nobody has seen to.", labels=labels
    )
    found = DeadLetter.objects.filter(state=DeadLetterState.PARKED).order_by()
    for service, reason, count in found.values_list("service", "reason").annotate(Count("pk")):
        parked.add_metric([service, reason], count)
    yield parked
    total = CounterMetricFamily(
        "bus_dead_letters_parked", "Dead letters that have come.", labels=labels
    )
    for service, reason, count in parked_totals.all_of_them():
        total.add_metric([service, reason], count)
    yield total


def _age(now: datetime, instants: Iterable[datetime | None]) -> float:
    """Return the seconds since the first of them; 0 where there is none, or all are to come."""
    ages = ((now - each).total_seconds() for each in instants if each is not None)
    return max(0.0, max(ages, default=0.0))


def _by_service(name: str, text: str, counts: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["service"])
    for service, count in counts.items():
        family.add_metric([service], count)
    return family
