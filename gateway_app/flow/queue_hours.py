"""Looks at queues added up by the hour, for all that is older than a week."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from gateway_app.models import QueueDepth, QueueHour, QueueLook
from gateway_app.removing import remove_oldest
from messaging.database_threads import write_transaction

#: The row of an hour that is about all services together.
EVERYBODY: Final = ""
HOUR: Final = timedelta(hours=1)
KEPT_DAYS: Final = 90
#: A look is stored once the broker has answered: by then the last one of an hour is there.
SETTLED_AFTER: Final = timedelta(minutes=5)
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class Hour:
    """What waited within one hour in which somebody looked."""

    at: datetime
    #: How often somebody did.
    looks: int = 0
    most: int = 0
    mean: float = 0.0
    last: int = 0
    #: By the name of the priority, when most waited; None: the broker does not tell.
    by_priority: dict[str, int] | None = field(default_factory=dict)
    oldest_seconds: float | None = None

    @classmethod
    def of(cls, row: QueueHour) -> Self:
        """Return what a row keeps."""
        text = row.by_priority_json
        split = json.loads(text) if text else None
        return cls(row.at, row.looks, row.most, row.mean, row.last, split, row.oldest_seconds)


def add_up(now: datetime) -> int:
    """Add each hour that is over and whose looks are not added yet; return how many there were.

    The oldest first, each in one transaction, and each once, whatever fails: what two write at
    once is the same, and the first one's counts. However long nobody did, it is made up for, as
    no look is removed before. A look that is stored later than `SETTLED_AFTER` is left out.
    """
    over = _start(now - SETTLED_AFTER)
    to_add = QueueLook.objects.filter(is_added=False, at__lt=over).order_by("at")
    added = 0
    while (first := to_add.first()) is not None:
        added += _add(_start(first.at))
    return added


def between(service: str, began_at: datetime, ended_at: datetime) -> Iterator[Hour]:
    """Yield the hours that begin from an instant up to another one, oldest first.

    Without those in which nobody looked, and those that are not added up yet.

    Args:
        service: its name, or `EVERYBODY`.
        began_at: where the first hour may begin.
        ended_at: where the last one may not.
    """
    found = QueueHour.objects.filter(at__gte=began_at, at__lt=ended_at).order_by("at")
    own = {row.at: Hour.of(row) for row in found.filter(service=service)}
    for at, looks in found.filter(service=EVERYBODY).values_list("at", "looks"):
        yield own.get(at) or Hour(at, looks)


def sweep(now: datetime) -> None:
    """Remove what is too old, the oldest first. Safe to repeat; the next one goes on."""
    old = QueueHour.objects.filter(at__lt=now - timedelta(days=KEPT_DAYS))
    remove_oldest(old.order_by("at"))


def _start(at: datetime) -> datetime:
    """Return when the hour of an instant begins."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _add(at: datetime) -> int:
    """Add the looks of an hour; return 1, or 0 where another one has added it."""
    keys = list(
        QueueLook.objects.filter(at__gte=at, at__lt=at + HOUR)
        .order_by("at", "pk")
        .values_list("pk", flat=True)
    )
    if not keys:
        return 0  # another one has added it and removed its looks meanwhile
    rows = _rows(at, keys)
    with write_transaction(to_disk=False):
        is_new = not QueueHour.objects.filter(service=EVERYBODY, at=at).exists()
        if is_new:
            # Another one that writes it meanwhile has the same numbers. In order, so that two
            # do not wait for each other.
            QueueHour.objects.bulk_create(rows, batch_size=_CHUNK, ignore_conflicts=True)
        QueueLook.objects.filter(pk__in=keys, is_added=False).update(is_added=True)
    return int(is_new)


def _rows(at: datetime, keys: list[int]) -> list[QueueHour]:
    """Return what an hour sums up to: all services together first, then each by name.

    Args:
        at: when the hour begins.
        keys: of its looks, the oldest first.
    """
    by_service: defaultdict[str, dict[int, QueueDepth]] = defaultdict(dict)
    for row in QueueDepth.objects.filter(look__at__gte=at, look__at__lt=at + HOUR).order_by():
        by_service[row.service][row.look_id] = row
    together: defaultdict[int, list[QueueDepth]] = defaultdict(list)
    for known in by_service.values():
        for key, row in known.items():
            together[key].append(row)
    found = [_row(EVERYBODY, at, keys, together)]
    for service in sorted(by_service):
        own = {key: [row] for key, row in by_service[service].items()}
        found.append(_row(service, at, keys, own))
    return found


def _row(
    service: str, at: datetime, keys: list[int], known: dict[int, list[QueueDepth]]
) -> QueueHour:
    totals = [sum(row.waiting for row in known.get(key, ())) for key in keys]
    most = max(totals)
    ages = [
        row.oldest_seconds
        for rows in known.values()
        for row in rows
        if row.oldest_seconds is not None
    ]
    return QueueHour(
        service=service,
        at=at,
        looks=len(keys),
        most=most,
        mean=sum(totals) / len(totals),
        last=totals[-1],
        by_priority_json=_split(known.get(keys[totals.index(most)], [])),
        oldest_seconds=max(ages, default=None),
    )


def _split(rows: list[QueueDepth]) -> str:
    """Return what waited by priority; empty where the broker does not tell it of each row."""
    if not all(row.by_priority_json for row in rows):
        return ""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(json.loads(row.by_priority_json))
    return json.dumps(counts)
