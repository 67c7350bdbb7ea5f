"""How many waited over a stretch of time, and how many came and went: at most 360 points."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from django.db.models import Sum

from gateway_app.flow import queue_hours
from gateway_app.models import FlowOverall, FlowSummary, QueueDepth, QueueLook, Resolution
from messaging import MessagePriority

#: The band of what the broker does not tell the priority of.
ALL: Final = "all"
#: From the bottom of the chart to its top.
PRIORITIES: Final = tuple(priority.value for priority in reversed(MessagePriority))
#: By then what workers handled is part of the sums, and nothing is added to a look any more.
SETTLED_AFTER: Final = timedelta(seconds=150)
#: Choices of service and range whose settled points are kept in memory.
_MOST_KEPT: Final = 24


@dataclass(frozen=True, slots=True)
class Scale:
    """How a range is cut into points."""

    step: timedelta
    points: int
    flow: Resolution
    #: Whether it goes back to when only hours are kept of what waited.
    is_by_hour: bool = False


SCALES: Final[Mapping[str, Scale]] = {
    "1h": Scale(timedelta(minutes=1), 60, Resolution.MINUTE),
    "24h": Scale(timedelta(minutes=6), 240, Resolution.MINUTE),
    "7d": Scale(timedelta(hours=1), 168, Resolution.HOUR),
    "90d": Scale(timedelta(hours=6), 360, Resolution.HOUR, is_by_hour=True),
}


@dataclass(frozen=True, slots=True)
class Point:
    """What happened from an instant on, for one step."""

    at: datetime
    #: By band, when most waited; None: nobody looked.
    waiting: Mapping[str, int] | None = None
    #: At the last look.
    last: int | None = None
    #: Deliveries; None: they are not added up yet, or nobody looked.
    handled: int | None = None

    @property
    def total(self) -> int | None:
        """All that waited when most did."""
        return None if self.waiting is None else sum(self.waiting.values())


@dataclass(frozen=True, slots=True)
class Rates:
    """How many came and went, per second; None: not known."""

    came: float | None
    went: float | None


class Seen(NamedTuple):
    """What waited within a step, or a part of it."""

    #: When the step begins.
    at: datetime
    #: By band, when most waited.
    waiting: Mapping[str, int]
    #: At the last look.
    last: int


class Histories:
    """Points of the past, of which each is read once. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], dict[datetime, Point]] = {}

    def points(self, service: str, name: str, now: datetime) -> list[Point]:
        """Return the points of a range that ends now, oldest first.

        Args:
            service: empty: all of them.
            name: of the range, in `SCALES`.
            now: the last point is the one it falls into.
        """
        scale = SCALES[name]
        last = _step_of(now, scale.step)
        times = [last - scale.step * back for back in reversed(range(scale.points))]
        with self._lock:
            known = dict(self._kept.get((service, name), {}))
        missing = [at for at in times if at not in known]
        if missing:
            known |= _read(service, scale, missing[0], now)
        # Also where nobody looked: that will not change either.
        points = [known.get(at) or Point(at) for at in times]
        settled = {
            point.at: point for point in points if point.at + scale.step + SETTLED_AFTER <= now
        }
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[service, name] = settled
        return points


def bands(points: Iterable[Point]) -> tuple[str, ...]:
    """Return what is stacked, from the bottom; `ALL` alone where a priority is not known."""
    has_all = any(point.waiting and ALL in point.waiting for point in points)
    return (ALL,) if has_all else PRIORITIES


def split(point: Point, names: Iterable[str]) -> list[int | None]:
    """Return how many waited in each band; None where nobody looked."""
    waiting = point.waiting
    if waiting is None:
        return [None for _ in names]
    return [point.total if name == ALL else waiting.get(name, 0) for name in names]


def rates(points: Iterable[Point], step: timedelta) -> list[Rates]:
    """Return the rates of each point: what came is what went and what is left more than before."""
    seconds = step.total_seconds()
    found = [Rates(None, None)]
    for before, point in pairwise(points):
        if point.handled is None:
            found.append(Rates(None, None))
            continue
        went = point.handled / seconds
        came = None
        if before.last is not None and point.last is not None:
            came = max(0.0, went + (point.last - before.last) / seconds)
        found.append(Rates(came, went))
    return found


def _read(service: str, scale: Scale, began_at: datetime, now: datetime) -> dict[datetime, Point]:
    if scale.is_by_hour:
        seen, hours_end_at = _hours(service, scale, began_at, now)
        # Those are not added up yet: of less than two hours, if nothing is wrong.
        seen += _looks(service, scale, hours_end_at, now)
    else:
        seen = _looks(service, scale, began_at, now)
    found: dict[datetime, Seen] = {}
    for each in seen:
        before = found.setdefault(each.at, each)
        waiting = max(before.waiting, each.waiting, key=_total)
        found[each.at] = Seen(each.at, waiting, each.last)
    if not found:
        return {}
    counts: dict[datetime, int] = defaultdict(int)
    for at, count in _handled(service, scale, began_at, now):
        counts[_step_of(at, scale.step)] += count
    settled = now - SETTLED_AFTER
    return {
        at: Point(at, each.waiting, each.last, counts[at] if at + scale.step <= settled else None)
        for at, each in found.items()
    }


def _step_of(at: datetime, step: timedelta) -> datetime:
    """Return when the step of an instant begins."""
    seconds = step.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)


def _total(waiting: Mapping[str, int]) -> int:
    return sum(waiting.values())


def _hours(
    service: str, scale: Scale, began_at: datetime, now: datetime
) -> tuple[list[Seen], datetime]:
    """Return what is kept by the hour, oldest first, and where it ends."""
    seen = []
    ended_at = began_at
    for hour in queue_hours.between(service, began_at, now - queue_hours.HOUR):
        split_up = {ALL: hour.most} if hour.by_priority is None else hour.by_priority
        seen.append(Seen(_step_of(hour.at, scale.step), split_up, hour.last))
        ended_at = hour.at + queue_hours.HOUR
    return seen, ended_at


def _looks(service: str, scale: Scale, began_at: datetime, now: datetime) -> list[Seen]:
    """Return what the looks of each step saw, oldest first."""
    looks = list(
        QueueLook.objects.filter(at__gte=began_at, at__lte=now)
        .order_by("at", "pk")
        .values_list("pk", "at")
    )
    if not looks:
        return []
    keys = [key for key, _ in looks]
    depths = QueueDepth.objects.filter(look_id__gte=min(keys), look_id__lte=max(keys)).order_by()
    if service:
        depths = depths.filter(service=service)
    totals = dict(depths.values_list("look_id").annotate(Sum("waiting")))
    most: dict[datetime, int] = {}
    last: dict[datetime, int] = {}
    for key, at in looks:
        place, total = _step_of(at, scale.step), totals.get(key, 0)
        last[place] = total
        if place not in most or total > totals.get(most[place], 0):
            most[place] = key
    waiting = _bands_of(depths.filter(look_id__in=set(most.values())))
    return [Seen(at, waiting.get(key, {}), last[at]) for at, key in most.items()]


def _bands_of(depths: Iterable[QueueDepth]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for row in depths:
        split_up = json.loads(row.by_priority_json) if row.by_priority_json else {}
        waiting = found.setdefault(row.look_id, {})
        for name, count in (split_up or {ALL: row.waiting}).items():
            waiting[name] = waiting.get(name, 0) + count
    return found


def _handled(
    service: str, scale: Scale, began_at: datetime, now: datetime
) -> Iterable[tuple[datetime, int]]:
    if service:
        rows = FlowSummary.objects.filter(target=service)
        chosen = rows.filter(resolution=scale.flow, at__gte=began_at, at__lte=now)
        return chosen.order_by().values_list("at").annotate(Sum("count"))
    overall = FlowOverall.objects.filter(resolution=scale.flow, at__gte=began_at, at__lte=now)
    return overall.order_by().values_list("at").annotate(Sum("count"))
