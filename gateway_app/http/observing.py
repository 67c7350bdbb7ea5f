"""What becomes of each request, for the metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Send

from gateway_app.http import metrics
from gateway_app.http.matching import Target
from messaging.clock import SYSTEM_CLOCK

#: nginx's word for it: the client went away before it had its answer.
CLIENT_GONE: Final = 499
#: The server closes the connection of an answer that breaks off, whatever its head said.
BROKE_OFF: Final = 502


@dataclass(slots=True)
class Observed:
    """One request as it goes by."""

    _send: Send
    status: int = 0
    #: The route, once it is known.
    target: Target | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the client has the head of a response."""
        return self.status != 0

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    def broke(self, error: Exception) -> None:
        """Note that there is no response, or half of one."""
        self.status = CLIENT_GONE if isinstance(error, ClientDisconnect) else BROKE_OFF


@contextmanager
def observed(send: Send) -> Iterator[Observed]:
    """Count and time a request for the length of a ``with`` block."""
    seen = Observed(send)
    began = SYSTEM_CLOCK.monotonic()
    metrics.IN_FLIGHT.inc()
    try:
        yield seen
    finally:
        metrics.IN_FLIGHT.dec()
        service = seen.target.service if seen.target else metrics.NO_ROUTE
        route = seen.target.path if seen.target else metrics.NO_ROUTE
        # Methods are the clients' to invent; only those of routes are counted by name.
        known = seen.target.method if seen.target else metrics.NO_ROUTE
        requests, seconds = metrics.of_route(service, known, route, seen.status)
        requests.inc()
        seconds.observe(SYSTEM_CLOCK.monotonic() - began)
