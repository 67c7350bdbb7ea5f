"""Samples added up by minute and hour: the history of what flowed."""

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from django.db import connection
from django.db.models import Q

from gateway_app.flow import overall, rows, totals
from gateway_app.flow.rows import Deliveries, Edge, Row
from gateway_app.models import FlowSample, FlowSummary, Lease, Resolution
from gateway_app.removing import remove_oldest
from messaging.database_threads import write_transaction

Place = TypeVar("Place", bound=Hashable)

logger = logging.getLogger(__name__)

#: How long they are kept.
MINUTES_DAYS: Final = 7
HOURS_DAYS: Final = 90
#: Samples, and about as many rows in them, of one transaction: others that write wait no longer
#: than those take, some 50 ms.
AT_ONCE: Final = 100
ROWS_AT_ONCE: Final = 500
#: Samples among which those of one service are looked for, so that they change its rows once.
LOOKED_AT: Final = 20_000
#: Kinds of messages that are told apart of one service in a minute or hour; what has no room is
#: counted without its source and type. Types with ids in them would be without number.
MOST_EDGES: Final = 200
#: Whoever adds up holds it, so that two do not add to the same row.
_ROLE: Final = "flow"
_UNIQUE: Final = ("resolution", "at", "target", "source", "type", "kind", "priority")
_SUMS: Final = (*rows.SUMS, "last_error")


class Key(NamedTuple):
    """What one summary is about."""

    resolution: str
    at: datetime
    edge: Edge


def add_up(now: datetime) -> int:
    """Add the samples that have come since to their minutes and hours; return how many there were.

    Each counts once, whatever fails: sample and summaries change in one transaction, of
    `AT_ONCE` samples at most. Two at once take turns.
    """
    Lease.objects.get_or_create(role=_ROLE, defaults={"expires_at": now})
    added = 0
    while waiting := _waiting():
        while waiting:
            read = _read(waiting[:AT_ONCE])
            added += _add(read)
            del waiting[: len(read)]
    return added


def between(
    resolution: Resolution, began_at: datetime, ended_at: datetime
) -> Iterator[tuple[datetime, Edge, Deliveries]]:
    """Yield what minutes or hours from an instant up to another one sum up, oldest first."""
    found = FlowSummary.objects.filter(
        resolution=resolution, at__gte=began_at, at__lt=ended_at
    ).order_by("at")
    for row in found.iterator():
        yield row.at, _edge(row), _deliveries(row)


def sweep(now: datetime) -> None:
    """Remove what is too old, the oldest first. Safe to repeat; the next one goes on."""
    for resolution, days in ((Resolution.MINUTE, MINUTES_DAYS), (Resolution.HOUR, HOURS_DAYS)):
        before = now - timedelta(days=days)
        remove_oldest(
            FlowSummary.objects.filter(resolution=resolution, at__lt=before).order_by("at")
        )
        overall.sweep(resolution, before)


def _waiting() -> list[int]:
    """Return the oldest samples that are not added, each service's beside each other."""
    found = FlowSample.objects.filter(is_added=False).order_by("pk")
    targets = list(found.values_list("target", "pk")[:LOOKED_AT])
    return [key for _, key in sorted(targets)]


def _add(read: Mapping[int, Sequence[Row]]) -> int:
    """Add samples, unless another one has meanwhile; return how many."""
    with write_transaction(to_disk=False):
        if connection.vendor != "sqlite":  # there is one writer at a time anyway
            Lease.objects.select_for_update().get(role=_ROLE)
        new = FlowSample.objects.filter(pk__in=list(read), is_added=False)
        keys = list(new.values_list("pk", flat=True))
        _put(_sums(row for key in keys for row in read[key]))
        FlowSample.objects.filter(pk__in=keys).update(is_added=True)
    return len(keys)


def _read(keys: Sequence[int]) -> dict[int, list[Row]]:
    """Return the rows of samples by primary key: of the first ones, if they have very many."""
    samples = FlowSample.objects.in_bulk(keys)
    read: dict[int, list[Row]] = {}
    count = 0
    for key in keys:
        read[key] = []
        sample = samples.get(key)
        if sample is None:
            continue  # too old, and removed
        try:
            read[key] = list(rows.from_text(sample.target, sample.rows_json))
        except (TypeError, ValueError):
            # It must not keep the others from being added, now and for ever.
            logger.exception("a sample of %s cannot be read and is left out", sample.target)
        count += len(read[key])
        if count >= ROWS_AT_ONCE:
            break
    return read


def _sums(found: Iterable[Row]) -> dict[Key, Deliveries]:
    sums: dict[Key, Deliveries] = {}
    for row in found:
        minute = datetime.fromtimestamp(row.second // 60 * 60, UTC)
        for key in (
            Key(Resolution.MINUTE, minute, row.edge),
            Key(Resolution.HOUR, minute.replace(minute=0), row.edge),
        ):
            sums.setdefault(key, Deliveries()).add(row.deliveries)
    return sums


def _put(sums: Mapping[Key, Deliveries]) -> None:
    """Add sums to the summaries that are there, and write the others; so to what sums those up."""
    overall.put(_grouped(sums, _by_priority))
    totals.put(_grouped(sums, _by_service))
    total: dict[Key, Deliveries] = {}
    edges: Counter[tuple[str, datetime, str]] = Counter()
    for row in _stored(sums):
        key = Key(row.resolution, row.at, _edge(row))
        edges[key.resolution, key.at, key.edge.target] += 1
        total[key] = _deliveries(row)
    changed: set[Key] = set()
    for key, deliveries in sums.items():
        place = key.resolution, key.at, key.edge.target
        if key not in total and edges[place] >= MOST_EDGES:
            key = key._replace(edge=key.edge._replace(source="", type=""))
        if key not in total:
            edges[place] += 1
            total[key] = Deliveries()
        total[key].add(deliveries)
        changed.add(key)
    FlowSummary.objects.bulk_create(
        [_summary(key, total[key]) for key in changed],
        batch_size=rows.CHUNK,
        update_conflicts=True,
        unique_fields=_UNIQUE,
        update_fields=_SUMS,
    )


def _by_priority(key: Key) -> overall.Place:
    return overall.Place(key.resolution, key.at, key.edge.priority)


def _by_service(key: Key) -> totals.Place | None:
    if key.resolution != Resolution.MINUTE:
        return None  # the hour holds the same deliveries again
    return totals.Place(key.edge.target, key.edge.priority)


def _grouped(
    sums: Mapping[Key, Deliveries], place_of: Callable[[Key], Place | None]
) -> dict[Place, Deliveries]:
    found: dict[Place, Deliveries] = {}
    for key, deliveries in sums.items():
        if (place := place_of(key)) is not None:
            found.setdefault(place, Deliveries()).add(deliveries)
    return found


def _stored(keys: Iterable[Key]) -> Iterator[FlowSummary]:
    """Yield the summaries of the times and targets of these keys."""
    places = sorted({(key.resolution, key.at, key.edge.target) for key in keys})
    for start in range(0, len(places), rows.CHUNK):
        wanted = Q(pk__in=[])
        for resolution, at, target in places[start : start + rows.CHUNK]:
            wanted |= Q(resolution=resolution, at=at, target=target)
        yield from FlowSummary.objects.filter(wanted).order_by()


def _edge(row: FlowSummary) -> Edge:
    return Edge(row.source, row.target, row.type, row.kind, row.priority)


def _deliveries(row: FlowSummary) -> Deliveries:
    deliveries = rows.from_columns(row)
    deliveries.last_error = row.last_error
    return deliveries


def _summary(key: Key, deliveries: Deliveries) -> FlowSummary:
    return FlowSummary(
        resolution=key.resolution,
        at=key.at,
        **key.edge._asdict(),
        **rows.to_columns(deliveries),
        last_error=deliveries.last_error,
    )
