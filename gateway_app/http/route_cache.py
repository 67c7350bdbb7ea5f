"""The registered routes, at most a second old."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from asgiref.sync import sync_to_async

from gateway_app.http.matching import RouteTree, Target
from gateway_app.models import SERVING, Route, ServiceInstance
from messaging.clock import SYSTEM_CLOCK

#: A new service's routes work this much later at most; a thousand requests a second cost two
#: queries.
FRESH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Routing:
    """What requests are routed by."""

    tree: RouteTree
    #: Names of the services that have an instance to answer.
    serving: frozenset[str]


def load_routing() -> Routing:
    """Return the routing as the database has it."""
    # The oldest first: of two routes that match the same it is the one that counts.
    rows = Route.objects.order_by("pk").values_list("method", "path", "service__name", "message")
    serving = ServiceInstance.objects.filter(left_at=None, state__in=SERVING)
    names = serving.values_list("service__name", flat=True)
    return Routing(RouteTree(Target(*row) for row in rows), frozenset(names))


class RouteCache:
    """Loads the routing again once it is older than `FRESH_SECONDS`.

    Args:
        load: reads it from the database.
        monotonic: seconds, for tests to move.
    """

    def __init__(
        self,
        load: Callable[[], Routing] = load_routing,
        monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic,
    ) -> None:
        self._load = load
        self._monotonic = monotonic
        self._loaded: tuple[float, Routing] | None = None

    async def routing(self) -> Routing:
        """Return the routing, without a thread or a query where it is fresh.

        Raises:
            DatabaseError: it is not, and the database does not answer.
        """
        if self._loaded is None or self._monotonic() - self._loaded[0] > FRESH_SECONDS:
            # Requests that come meanwhile load it too; that costs less than making them queue.
            began = self._monotonic()
            self._loaded = began, await sync_to_async(self._load)()
        return self._loaded[1]
