"""Deliveries by service and priority since the beginning: counters that outlive every process.

They grow with the summaries, in the same transaction, and are never removed: as many rows as
services that ever handled anything, times the priorities. Whoever reads them twice sees numbers
that are the same or larger, from whatever process.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gateway_app.flow import rows
from gateway_app.flow.rows import Deliveries
from gateway_app.models import FlowTotal


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
    rows.add_to(FlowTotal, sums, _stored(sums))


def _stored(sums: Iterable[Place]) -> Iterator[FlowTotal]:
    services = sorted({place.service for place in sums})
    for start in range(0, len(services), rows.CHUNK):
        some = services[start : start + rows.CHUNK]
        yield from FlowTotal.objects.filter(service__in=some).order_by()
