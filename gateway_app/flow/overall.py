"""Deliveries to all services by priority, added up by minute and hour: the flow at a glance."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from django.db.models import Q

from gateway_app.flow import rows
from gateway_app.flow.rows import Deliveries
from gateway_app.models import FlowOverall, Resolution
from gateway_app.removing import remove_oldest

_UNIQUE: Final = ("resolution", "at", "priority")
_SUMS: Final = ("count", "failures", "waiting_json", "handling_json")
#: Rows in one statement, and levels of one expression; SQLite takes a thousand.
_CHUNK: Final = 200


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
    total = {place: Deliveries() for place in sums}
    times = sorted({(place.resolution, place.at) for place in sums})
    for start in range(0, len(times), _CHUNK):
        wanted = Q(pk__in=[])
        for resolution, at in times[start : start + _CHUNK]:
            wanted |= Q(resolution=resolution, at=at)
        for row in FlowOverall.objects.filter(wanted).order_by():
            place = Place(row.resolution, row.at, row.priority)
            if place in total:
                total[place].add(rows.from_columns(row))
    for place, deliveries in sums.items():
        total[place].add(deliveries)
    FlowOverall.objects.bulk_create(
        [
            FlowOverall(**place._asdict(), **rows.to_columns(deliveries))
            for place, deliveries in total.items()
        ],
        batch_size=_CHUNK,
        update_conflicts=True,
        unique_fields=_UNIQUE,
        update_fields=_SUMS,
    )


def sweep(resolution: Resolution, before: datetime) -> None:
    """Remove what is older, the oldest first. Safe to repeat."""
    remove_oldest(FlowOverall.objects.filter(resolution=resolution, at__lt=before).order_by("at"))
