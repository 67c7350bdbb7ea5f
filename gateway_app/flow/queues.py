"""What waited for each service, looked at every half minute and kept for a week.

`flow.queue_hours` keeps it by the hour for longer.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from django.db import transaction

from gateway_app.models import QueueDepth, QueueLook, Service
from gateway_app.removing import remove_oldest
from messaging import MessageBus, MessagePriority
from messaging.depths import NOTHING, Depth, depths

KEPT_DAYS: Final = 7
#: Looks that are removed in one transaction, with all that waited then.
SWEPT_AT_ONCE: Final = 20
#: A queue grows if it is longer at the end of this, and was at nearly every look in between.
GROWTH: Final = timedelta(minutes=10)
LEAST_GROWTH: Final = 10
MOSTLY: Final = 0.8


def look(bus: MessageBus, now: datetime) -> None:
    """Look what waits for each service in the registry, and keep that.

    A row for the look, and one for each service for which something waits: an idle system costs a
    row every half minute.

    Raises:
        BrokerUnavailable, BrokerBusy: the broker does not answer; nothing is kept, and the history
            has a gap.
    """
    found = depths(bus, list(Service.objects.values_list("name", flat=True)))
    with transaction.atomic():
        kept = QueueLook.objects.create(at=now)
        QueueDepth.objects.bulk_create(
            QueueDepth(
                look=kept,
                service=service,
                waiting=depth.waiting,
                by_priority_json=""
                if depth.by_priority is None
                else json.dumps(depth.by_priority),
                oldest_seconds=depth.oldest_seconds,
                oldest_by_priority_json=""
                if depth.oldest_by_priority is None
                else json.dumps(depth.oldest_by_priority),
            )
            for service, depth in found.items()
            if depth.waiting
        )


def between(
    service: str, began_at: datetime, ended_at: datetime
) -> Iterator[tuple[datetime, Depth]]:
    """Yield what waited for a service at each look from an instant up to another one."""
    looks = QueueLook.objects.filter(at__gte=began_at, at__lt=ended_at)
    known: Mapping[int, QueueDepth] = {
        row.look_id: row for row in QueueDepth.objects.filter(service=service, look__in=looks)
    }
    for pk, at in looks.values_list("pk", "at"):
        yield at, depth_of(known[pk]) if pk in known else NOTHING


def counts_between(began_at: datetime, ended_at: datetime) -> dict[str, list[int]]:
    """Return how many waited at each look, oldest first, of services for which something did."""
    found = (
        QueueLook.objects.filter(at__gte=began_at, at__lt=ended_at)
        .order_by("at", "pk")
        .values_list("pk", "depths__service", "depths__waiting")
    )
    places: dict[int, int] = {}
    waited: dict[str, dict[int, int]] = {}
    for look, service, waiting in found:
        place = places.setdefault(look, len(places))
        if service is not None:  # else nothing waited for anybody
            waited.setdefault(service, {})[place] = waiting
    return {
        service: [counts.get(place, 0) for place in range(len(places))]
        for service, counts in waited.items()
    }


def growing(now: datetime) -> dict[str, float]:
    """Return by how many messages a minute queues have grown for `GROWTH`, of those that have."""
    minutes = GROWTH.total_seconds() / 60
    found = {}
    for service, series in counts_between(now - GROWTH, now).items():
        steps = [after - before for before, after in pairwise(series)]
        risen = series[-1] - series[0]
        rises = sum(step >= 0 for step in steps)
        if risen >= LEAST_GROWTH and rises >= MOSTLY * len(steps):
            found[service] = risen / minutes
    return found


def last() -> tuple[datetime | None, dict[str, Depth]]:
    """Return when it was last looked, and what waited then, by service; None: never."""
    newest = QueueLook.objects.order_by("-at").first()
    if newest is None:
        return None, {}
    return newest.at, {row.service: depth_of(row) for row in newest.depths.all()}


def sweep(now: datetime) -> None:
    """Remove what is too old, the oldest first. Safe to repeat; the next one goes on.

    A look stays until it is part of its hour, see `flow.queue_hours`.
    """
    old = QueueLook.objects.filter(is_added=True, at__lt=now - timedelta(days=KEPT_DAYS))
    remove_oldest(old.order_by("at"), at_once=SWEPT_AT_ONCE)


def depth_of(row: QueueDepth) -> Depth:
    """Return what waited, as a row keeps it."""
    return Depth(
        row.waiting,
        _by_priority(row.by_priority_json),
        row.oldest_seconds,
        _by_priority(row.oldest_by_priority_json),
    )


def _by_priority(text: str) -> dict[MessagePriority, Any] | None:
    if not text:
        return None
    return {MessagePriority(priority): value for priority, value in json.loads(text).items()}
