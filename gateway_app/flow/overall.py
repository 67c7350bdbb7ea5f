"""Deliveries to all services by priority, added up by minute and hour: the flow at a glance."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q

from gateway_app.flow import rows
from gateway_app.flow.rows import Deliveries
from gateway_app.models import FlowOverall, Resolution
from gateway_app.removing import remove_oldest


class Place(NamedTuple):
    """What one row is about."""

    resolution: str
    at: datetime
    priority: str


def between(
    resolution: Resolution, began_at: datetime, ended_at: datetime
) -> Iterator[tuple[datetime, str, Deliveries]]:
    """Yield instant, priority and sum of the minutes or hours from an instant up to another one.

    Oldest first; a minute without deliveries of a priority has none. An hour of minutes is 240
    rows at most, whatever number of services there is. They carry no text of errors.
    """
    found = FlowOverall.objects.filter(
        resolution=resolution, at__gte=began_at, at__lt=ended_at
    ).order_by("at")
    for row in found.iterator():
        yield row.at, row.priority, rows.from_columns(row)


def put(sums: Mapping[Place, Deliveries]) -> None:
    """Add sums to those that are there. For `flow.summaries`, which lets one in at a time."""
    rows.add_to(FlowOverall, sums, _stored(sums))


def sweep(resolution: Resolution, before: datetime) -> None:
    """Remove what is older, the oldest first. Safe to repeat."""
    remove_oldest(FlowOverall.objects.filter(resolution=resolution, at__lt=before).order_by("at"))


def _stored(sums: Iterable[Place]) -> Iterator[FlowOverall]:
    times = sorted({(place.resolution, place.at) for place in sums})
    for start in range(0, len(times), rows.CHUNK):
        wanted = Q(pk__in=[])
        for resolution, at in times[start : start + rows.CHUNK]:
            wanted |= Q(resolution=resolution, at=at)
        yield from FlowOverall.objects.filter(wanted).order_by()
