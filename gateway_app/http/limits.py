"""How much one client, one route and the whole process may have at one time.

Limits hold per process of the gateway and are forgotten at its end. Not thread-safe: the HTTP
server works on one event loop.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from gateway_app.http.matching import Target
from gateway_app.http.problem import Problem
from messaging import MessagingConfig
from messaging.clock import SYSTEM_CLOCK

K = TypeVar("K")

#: Clients and routes whose rate is remembered; the longest unseen are forgotten first.
REMEMBERED: Final = 10_000
#: Requests end soon: a client that was one too many may try again.
TRY_AGAIN_SECONDS: Final = 1


@dataclass(slots=True)
class TokenBucket:
    """Lets ``rate`` requests a second through, and as many at once after a pause; at least one."""

    rate: float
    tokens: float
    at: float

    def take(self, now: float) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        self.tokens = min(max(self.rate, 1.0), self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) / self.rate


class Limits:
    """Admits requests, or says why not.

    Args:
        config: has the limits of the process and of a client.
        monotonic: seconds, for tests to move.
    """

    def __init__(
        self, config: MessagingConfig, monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic
    ) -> None:
        self._config = config
        self._monotonic = monotonic
        self._buckets: OrderedDict[tuple[str, str, str], TokenBucket] = OrderedDict()
        self._clients: Counter[str] = Counter()
        self._routes: Counter[tuple[str, str]] = Counter()
        #: Requests admitted and not yet ended.
        self.in_flight = 0

    @contextmanager
    def admitted(self, client: str, target: Target) -> Iterator[None]:
        """Count a request for the length of a ``with`` block.

        Raises:
            Problem: 429 where the client has too many at once or a second, 503 where the route or
                the process has too many at once; each with Retry-After.
        """
        route = (target.method, target.path)
        self._check(client, target)
        self.in_flight += 1
        self._clients[client] += 1
        self._routes[route] += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            _count_down(self._clients, client)
            _count_down(self._routes, route)

    def _check(self, client: str, target: Target) -> None:
        route = (target.method, target.path)
        if self.in_flight >= self._config.http_concurrency:
            raise _too_many(HTTPStatus.SERVICE_UNAVAILABLE, "the gateway has too many requests")
        if target.concurrency is not None and self._routes[route] >= target.concurrency:
            raise _too_many(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{target.path} has {target.concurrency} requests in hand, which is its limit",
            )
        limit = self._config.http_client_concurrency
        if self._clients[client] >= limit:
            raise _too_many(
                HTTPStatus.TOO_MANY_REQUESTS, f"{limit} requests of yours are in hand already"
            )
        rate = self._config.http_rate if target.rate is None else target.rate
        if rate > 0:
            self._check_rate(client, target, rate)

    def _check_rate(self, client: str, target: Target, rate: float) -> None:
        key = (client, target.method, target.path)
        now = self._monotonic()
        bucket = self._buckets.pop(key, None)
        if bucket is None or bucket.rate != rate:
            bucket = TokenBucket(rate, max(rate, 1.0), now)
        self._buckets[key] = bucket  # the last one now
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        wait = bucket.take(now)
        if wait > 0:
            raise _too_many(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{target.path} takes {rate:g} requests a second of one client",
                math.ceil(wait),
            )


def _count_down(counts: Counter[K], key: K) -> None:
    """Count down, and forget what has come to nothing: keys come from outside."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _too_many(
    status: HTTPStatus, detail: str, retry_after_seconds: int = TRY_AGAIN_SECONDS
) -> Problem:
    return Problem(status, detail, headers={"Retry-After": str(retry_after_seconds)})
