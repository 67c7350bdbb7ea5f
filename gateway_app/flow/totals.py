"""Deliveries by service and priority since the beginning: counters that outlive every process.

They grow with the summaries, in the same transaction, and are never removed: as many rows as
services that ever handled anything, times the priorities. Whoever reads them twice sees numbers
that are the same or larger, from whatever process.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from gateway_app.flow import rows
from gateway_app.flow.rows import Deliveries
from gateway_app.models import FlowTotal

_UNIQUE: Final = ("service", "priority")
_SUMS: Final = ("count", "failures", "waiting_json", "handling_json")
_CHUNK: Final = 200


class Place(NamedTuple):
    """What one row is about."""

    service: str
    priority: str


def all_of_them() -> Iterator[tuple[Place, Deliveries]]:
    """Yield every total, by service; without text of errors."""
    for row in FlowTotal.objects.order_by("service", "priority"):
        yield Place(row.service, row.priority), rows.from_columns(row)


def put(sums: Mapping[Place, Deliveries]) -> None:
    """Add sums to those that are there. For `flow.summaries`, which lets one in at a time."""
    total = {place: Deliveries() for place in sums}
    services = sorted({place.service for place in sums})
    for start in range(0, len(services), _CHUNK):
        known = FlowTotal.objects.filter(service__in=services[start : start + _CHUNK])
        for row in known.order_by():
            place = Place(row.service, row.priority)
            if place in total:
                total[place].add(rows.from_columns(row))
    for place, deliveries in sums.items():
        total[place].add(deliveries)
    FlowTotal.objects.bulk_create(
        [
            FlowTotal(**place._asdict(), **rows.to_columns(deliveries))
            for place, deliveries in total.items()
        ],
        batch_size=_CHUNK,
        update_conflicts=True,
        unique_fields=_UNIQUE,
        update_fields=_SUMS,
    )
