"""The edges of the map: who sends what to whom, how much of it now, and whether it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db.models import Max

from gateway_app.flow import summaries
from gateway_app.flow.rows import Deliveries, Edge
from gateway_app.flow.summaries import MINUTES_DAYS
from gateway_app.models import FlowSummary, Resolution
from gateway_app.ops.question import BadQuestion
from messaging.histogram import quantile
from messaging.registration import DEAD_LETTER, DEREGISTER, PERISHABLE, REGISTER

#: An edge is judged by what was handled in this time, and is idle where that is nothing.
WINDOW: Final = timedelta(minutes=5)
#: It fails if so many deliveries did, and so large a part of all.
LEAST_FAILURES: Final = 3
LEAST_SHARE: Final = 0.05
#: Fewer deliveries in the last seconds say nothing of how often they come.
LEAST_FOR_RATE: Final = 5
#: When an edge was last used is known by the minute this far back, before that by the hour.
BY_MINUTE: Final = timedelta(hours=2)
#: What services tell the gateway of themselves: every one of them would have these edges. They are
#: shown where they fail.
HOUSEKEEPING: Final = PERISHABLE | {REGISTER, DEREGISTER, DEAD_LETTER}
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)


class Key(NamedTuple):
    """What is one edge. Source and type are empty where a worker had too many of them."""

    source: str
    target: str
    type: str

    def __str__(self) -> str:
        return "|".join(self)

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Return the key that an address names.

        Raises:
            BadQuestion: it names none.
        """
        parts = text.split("|")
        if len(parts) != len(cls._fields):
            raise BadQuestion("edge must be source|target|type")
        return cls(*parts)


class LastFlowed(NamedTuple):
    """When something last went along an edge that need not be in use now."""

    at: datetime
    kind: str
    priority: str


@dataclass(slots=True)
class Flow:
    """What goes along one edge."""

    key: Key
    #: Those of most of the messages.
    kind: str
    priority: str
    #: Of the last `WINDOW`.
    deliveries: Deliveries = field(default_factory=Deliveries)
    #: Deliveries a second.
    rate: float = 0.0
    #: Only of one that is idle.
    last_at: datetime | None = None

    @property
    def is_failing(self) -> bool:
        """Whether enough deliveries failed to say so."""
        return is_failing(self.deliveries.count, self.deliveries.failures)

    @property
    def state(self) -> str:
        """`failing`, `ok`, or `idle` where nothing was handled."""
        if self.is_failing:
            return "failing"
        return "ok" if self.deliveries.count else "idle"

    @property
    def slowest(self) -> float | None:
        """Seconds from sent to handled, for 95 of 100 of those that were."""
        return quantile(self.deliveries.total, 0.95)


def is_failing(count: int, failures: int) -> bool:
    """Return whether so many failures of so many deliveries are trouble."""
    return failures >= LEAST_FAILURES and failures >= LEAST_SHARE * count


def flowing(
    window: Mapping[Edge, Deliveries],
    seconds: float,
    last_seconds: Mapping[Edge, Deliveries] | None = None,
    rate_seconds: float = 1.0,
) -> dict[Key, Flow]:
    """Return the edges along which something went.

    Args:
        window: what was handled, by the finest distinction there is.
        seconds: in how long.
        last_seconds: what was handled at the end of that; rates are those of it where it is enough
            to tell one.
        rate_seconds: in how long.
    """
    found: dict[Key, Flow] = {}
    most: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    for edge, deliveries in window.items():
        key = Key(edge.source, edge.target, edge.type)
        flow = found.setdefault(key, Flow(key, edge.kind, edge.priority))
        if deliveries.count > most.get(key, 0):
            most[key] = deliveries.count
            flow.kind, flow.priority = edge.kind, edge.priority
        flow.deliveries.add(deliveries)
    for edge, deliveries in (last_seconds or {}).items():
        key = Key(edge.source, edge.target, edge.type)
        counts[key] = counts.get(key, 0) + deliveries.count
        if key not in found:  # so new that the window has not been read since
            flow = found[key] = Flow(key, edge.kind, edge.priority)
            flow.deliveries.add(deliveries)
    for key, flow in found.items():
        count = counts.get(key, 0)
        is_enough = count >= LEAST_FOR_RATE
        flow.rate = count / rate_seconds if is_enough else flow.deliveries.count / seconds
    return {
        key: flow for key, flow in found.items() if key.type not in HOUSEKEEPING or flow.is_failing
    }


def flowed_at(at: datetime, now: datetime) -> dict[Key, Flow]:
    """Return the edges along which something went in the `WINDOW` that an instant ends.

    Its minute is the last one. Minutes are not kept for ever: before that it is the whole hour.
    """
    if now - at < timedelta(days=MINUTES_DAYS):
        ended_at = at.replace(second=0, microsecond=0) + _MINUTE
        resolution, length = Resolution.MINUTE, WINDOW
    else:
        ended_at = at.replace(minute=0, second=0, microsecond=0) + _HOUR
        resolution, length = Resolution.HOUR, _HOUR
    window: dict[Edge, Deliveries] = {}
    for _, edge, deliveries in summaries.between(resolution, ended_at - length, ended_at):
        window.setdefault(edge, Deliveries()).add(deliveries)
    return flowing(window, length.total_seconds())


def last_flowed(range_: timedelta, now: datetime) -> dict[Key, LastFlowed]:
    """Return when something last went along each edge of a range, in two queries on an index."""
    found: dict[Key, LastFlowed] = {}
    if range_ > BY_MINUTE:
        began_at = (now - range_).replace(minute=0, second=0, microsecond=0)
        found = _last(Resolution.HOUR, began_at, now, _HOUR)
    return found | _last(Resolution.MINUTE, now - min(range_, BY_MINUTE), now, _MINUTE)


def with_idle(flows: Mapping[Key, Flow], last: Mapping[Key, LastFlowed]) -> list[Flow]:
    """Return edges in use and, idle, those that were, by name."""
    idle = (
        Flow(key, known.kind, known.priority, last_at=known.at)
        for key, known in last.items()
        if key not in flows
    )
    return sorted((*flows.values(), *idle), key=lambda flow: flow.key)


def _last(
    resolution: Resolution, began_at: datetime, ended_at: datetime, length: timedelta
) -> dict[Key, LastFlowed]:
    found: dict[Key, LastFlowed] = {}
    rows = (
        FlowSummary.objects.filter(resolution=resolution, at__gte=began_at, at__lt=ended_at)
        .exclude(type__in=HOUSEKEEPING)
        .order_by()
        .values_list("source", "target", "type", "kind", "priority")
        .annotate(Max("at"))
    )
    for source, target, message_type, kind, priority, at in rows:
        key = Key(source, target, message_type)
        if key not in found or at + length > found[key].at:
            # The hour that is not over ends now.
            found[key] = LastFlowed(min(at + length, ended_at), kind, priority)
    return found
