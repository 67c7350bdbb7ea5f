"""One edge over a range: what the panel beside the map says of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from gateway_app.flow import rows
from gateway_app.flow.rows import Deliveries
from gateway_app.models import DeadLetter, DeadLetterState, FlowSummary, Resolution
from gateway_app.ops.edges import Key
from gateway_app.ops.paced import Paced, Reading
from gateway_app.ops.question import RANGES
from messaging.envelope import utc_now

LATEST: Final = 3
#: Minutes without a failure that do not end a series of them.
MOST_BETWEEN: Final = 5
#: What is read for each range, and how long each point is.
STEPS: Final = {
    "1h": (Resolution.MINUTE, timedelta(minutes=1)),
    "24h": (Resolution.HOUR, timedelta(hours=1)),
    "7d": (Resolution.HOUR, timedelta(hours=3)),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that was given up."""

    message_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class History:
    """What went along one edge in a range."""

    began_at: datetime
    total: Deliveries
    #: By step, oldest first.
    points: Sequence[Deliveries]
    #: When it began to fail, as far as it still does; None: it does not, or did all the time.
    failing_since: datetime | None
    parked: int
    latest: Sequence[Failure]

    @property
    def shares(self) -> list[float]:
        """How large a part of the deliveries failed, by step."""
        return [point.failures / point.count if point.count else 0.0 for point in self.points]

    @property
    def counts(self) -> list[int]:
        """How many deliveries there were, by step."""
        return [point.count for point in self.points]


def read(key: Key, range_: str, ended_at: datetime) -> History:
    """Return what went along an edge in a range that ends at an instant, in three queries."""
    resolution, step = STEPS[range_]
    size = int(RANGES[range_] / step)
    end = _ceiling(ended_at, step)
    began_at = end - step * size
    found = FlowSummary.objects.filter(
        resolution=resolution, at__gte=began_at, at__lt=end, **key._asdict()
    ).order_by("at")
    total = Deliveries()
    points = [Deliveries() for _ in range(size)]
    for row in found:
        deliveries = rows.from_columns(row)
        deliveries.last_error = row.last_error
        total.add(deliveries)
        points[int((row.at - began_at) / step)].add(deliveries)
    given_up = DeadLetter.objects.filter(
        service=key.target, type=key.type, source=key.source, state=DeadLetterState.PARKED
    )
    latest = given_up.filter(parked_at__lte=ended_at).values_list("message_id", "parked_at")
    return History(
        began_at=began_at,
        total=total,
        points=points,
        failing_since=_since(points, began_at, step),
        parked=given_up.count(),
        latest=[Failure(*row) for row in latest[:LATEST]],
    )


@lru_cache(64)
def _paced(key: Key, range_: str) -> Paced[History]:
    return Paced(lambda: read(key, range_, utc_now()), 1.0)


def shared(key: Key, range_: str) -> Reading[History] | None:
    """Return the same of a range that ends now, read once for all; None: it is being read."""
    return _paced(key, range_).get()


def _ceiling(at: datetime, step: timedelta) -> datetime:
    seconds = step.total_seconds()
    return datetime.fromtimestamp((at.timestamp() // seconds + 1) * seconds, at.tzinfo)


def _since(points: Sequence[Deliveries], began_at: datetime, step: timedelta) -> datetime | None:
    """Return the step in which the last series of failures began, if it has not ended."""
    first = None
    without = 0
    for number in reversed(range(len(points))):
        if points[number].failures:
            first, without = number, 0
        elif points[number].count:
            without += 1
            if without >= MOST_BETWEEN:
                break
    return began_at + step * first if first else None
