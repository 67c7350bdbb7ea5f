"""Which instance gets the next proxied request: the healthy one with the least in hand.

Not thread-safe: the HTTP server works on one event loop. What is known of instances here (requests
in hand, breakers) is this process's own; the registry's word comes first.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway_app.http import metrics
from gateway_app.http.breaker import Breaker, BreakerState
from gateway_app.http.routing import Instance, ServiceEntry
from gateway_app.models import State
from messaging import MessagingConfig
from messaging.clock import SYSTEM_CLOCK


@dataclass(slots=True)
class Upstream:
    """An instance as this process has seen it."""

    service: str
    host: str
    port: int
    breaker: Breaker
    #: Requests it has not finished answering.
    outstanding: int = 0
    #: When it was last chosen: of equals, the one that waited longest is next.
    chosen: int = 0


class NoneLeft(LookupError):
    """No instance may be tried now.

    Attributes:
        seconds: until a breaker lets one through; 0: none has an open breaker.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("no instance may be tried now")
        self.seconds = seconds


class Upstreams:
    """The instances that requests were proxied to.

    Args:
        config: has the limits of the breakers.
        monotonic: seconds, for tests to move.
    """

    def __init__(
        self, config: MessagingConfig, monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic
    ) -> None:
        self._config = config
        self._monotonic = monotonic
        self._known: dict[str, Upstream] = {}
        self._turn = 0
        metrics.BREAKERS_OPEN.set_function(self.count_open)

    def choose(self, entry: ServiceEntry, tried: Iterable[str]) -> tuple[str, Upstream]:
        """Return what `best` returns, and remember that it was this one's turn."""
        instance_id, upstream = self.best(entry, tried)
        self._turn += 1
        upstream.chosen = self._turn
        return instance_id, upstream

    def best(self, entry: ServiceEntry, tried: Iterable[str]) -> tuple[str, Upstream]:
        """Return the id of the best instance, and what is known of it.

        UP before SUSPECT; then the least in hand; then the one that waited longest.

        Args:
            entry: the service, with the instances that serve.
            tried: ids of those this request has been to.

        Raises:
            NoneLeft: all have been tried, have no HTTP server, or have an open breaker.
        """
        now = self._monotonic()
        left = [
            (instance, self._of(entry, instance))
            for instance in entry.instances
            if instance.port is not None and instance.instance_id not in tried
        ]
        open_to = [pair for pair in left if pair[1].breaker.allows(now)]
        if not open_to:
            waits = [upstream.breaker.seconds_left(now) for _, upstream in left]
            raise NoneLeft(min(waits, default=0.0))
        instance, upstream = min(
            open_to,
            key=lambda pair: (pair[0].state != State.UP, pair[1].outstanding, pair[1].chosen),
        )
        return instance.instance_id, upstream

    @contextmanager
    def in_hand(self, upstream: Upstream) -> Iterator[None]:
        """Count a request that an instance works on, for the length of a ``with`` block."""
        finds_out = upstream.breaker.begin()
        upstream.outstanding += 1
        try:
            yield
        finally:
            upstream.outstanding -= 1
            if finds_out:
                upstream.breaker.gave_up()  # unless its word has come

    def failed(self, upstream: Upstream) -> None:
        """Note that an instance has not, or that it said it cannot."""
        upstream.breaker.failed(self._monotonic())
        metrics.UPSTREAM_FAILURES.labels(upstream.service).inc()

    def forget_others(self, present: Iterable[str]) -> None:
        """Drop what is known of instances that are not in the registry any more."""
        gone = self._known.keys() - set(present)
        for instance_id in gone:
            if not self._known[instance_id].outstanding:
                del self._known[instance_id]

    def count_open(self) -> int:
        """Return how many instances get nothing for now. May be called on any thread."""
        known = list(self._known.values())
        return sum(each.breaker.state is not BreakerState.CLOSED for each in known)

    def _of(self, entry: ServiceEntry, instance: Instance) -> Upstream:
        assert instance.port is not None
        known = self._known.get(instance.instance_id)
        if known is None or (known.host, known.port) != (instance.host, instance.port):
            breaker = Breaker(self._config.breaker_failures, self._config.breaker_open_seconds)
            known = Upstream(entry.name, instance.host, instance.port, breaker)
            self._known[instance.instance_id] = known
        return known
