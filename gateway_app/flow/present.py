"""What flows right now: the samples of the last few seconds, added up."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway_app.flow import samples
from gateway_app.flow.rows import Deliveries, Edge
from messaging.apps import configured

#: A second is told with the heartbeat after it, which takes a moment to be handled.
_ON_THE_WAY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Present:
    """What was handled in a stretch of time that is over for everybody."""

    seconds: float
    edges: Mapping[Edge, Deliveries]

    def by_target(self) -> defaultdict[str, Deliveries]:
        """Return all that each service handled."""
        totals: defaultdict[str, Deliveries] = defaultdict(Deliveries)
        for edge, deliveries in self.edges.items():
            totals[edge.target].add(deliveries)
        return totals

    def rate(self, count: int) -> float:
        """Return how many a second that is."""
        return count / self.seconds


def look(now: datetime, seconds: float) -> Present:
    """Return what was handled in so many seconds; they end a heartbeat ago."""
    delay = configured().heartbeat_seconds + _ON_THE_WAY_SECONDS
    ended_at = int((now - timedelta(seconds=delay)).timestamp())
    began_at = datetime.fromtimestamp(ended_at - seconds, now.tzinfo)
    edges: dict[Edge, Deliveries] = {}
    for row in samples.since(began_at):
        if row.second < ended_at:
            edges.setdefault(row.edge, Deliveries()).add(row.deliveries)
    return Present(seconds, edges)
