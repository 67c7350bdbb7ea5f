"""kombu's words for the broker in memory: what publishers of the library speak to.

Importing it makes the URL scheme ``memory-bus`` known to kombu. Nothing is consumed by way of it:
the harness takes deliveries from the broker itself, in the test's own thread.
"""

from typing import Any, Final, NamedTuple

import kombu.transport.base
from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES

from messaging.errors import BrokerUnavailable
from messaging.testing.broker import BROKERS, MemoryBroker

SCHEME: Final = "memory-bus"
TRANSPORT_ALIASES[SCHEME] = "messaging.testing.transport:Transport"

#: kombu is only partly annotated; from here on it is dynamic, whatever a type checker follows.
base: Any = kombu.transport.base


class NotFound(ChannelError):
    """There is no such queue."""

    code = "404"


class _Declared(NamedTuple):
    queue: str
    message_count: int
    consumer_count: int


class Channel(base.StdChannel):
    """Publishing and declaring on one channel; BrokerUnavailable while the broker is down."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def prepare_message(
        self,
        body: str,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        headers: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the message that `basic_publish` takes."""
        return {
            "body": body,
            "headers": headers or {},
            "properties": {
                **(properties or {}),
                "priority": priority,
                "content_type": content_type,
                "content_encoding": content_encoding,
            },
        }

    def basic_publish(
        self, message: dict[str, Any], exchange: str = "", routing_key: str = "", **_: Any
    ) -> None:
        """Put a message into all queues that get it."""
        self._broker.reach()
        self._broker.publish(exchange, routing_key, message)

    def exchange_declare(self, exchange: str = "", type: str = "direct", **_: Any) -> None:
        """Have an exchange exist."""
        self._broker.reach()
        self._broker.declare_exchange(exchange, type)

    def queue_declare(self, queue: str = "", passive: bool = False, **_: Any) -> _Declared:
        """Have a queue exist; passive: say how long it is.

        Raises:
            NotFound: passive, and there is none.
        """
        self._broker.reach()
        if passive and not self._broker.has_queue(queue):
            raise NotFound(f"no queue {queue!r}")
        self._broker.declare_queue(queue)
        return _Declared(queue, self._broker.length(queue), 0)

    def queue_bind(
        self, queue: str = "", exchange: str = "", routing_key: str = "", **_: Any
    ) -> None:
        """Have an exchange route to a queue."""
        self._broker.reach()
        self._broker.bind(queue, exchange, routing_key)

    def queue_delete(self, queue: str = "", **_: Any) -> None:
        """Remove a queue and what is in it."""
        self._broker.reach()
        self._broker.delete_queue(queue)

    def get_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """Return the bindings of an exchange as kombu's virtual channels do."""
        self._broker.reach()
        return [(key, key, queue) for key, queue in self._broker.bound_to(exchange)]

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


class Transport(base.Transport):
    """One connection to a broker in memory."""

    can_parse_url = True
    driver_type = "memory"
    driver_name = SCHEME
    #: Not `BrokerUnavailable`: kombu would sleep and connect again.
    connection_errors = (ConnectionError,)
    channel_errors = (ChannelError,)

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.client = client

    @property
    def _broker(self) -> MemoryBroker:
        name = str(self.client.hostname).partition("://")[2]
        broker = BROKERS.get(name)
        if broker is None:
            raise BrokerUnavailable(f"the test whose broker was {name!r} is over")
        return broker

    def establish_connection(self) -> "Transport":
        """Find the broker.

        Raises:
            BrokerUnavailable: it is down, or its test is over.
        """
        self._broker.reach()
        return self

    def create_channel(self, connection: Any) -> Channel:
        """Return a new channel."""
        return Channel(self._broker)

    def close_channel(self, channel: Any) -> None:
        """Do nothing: there is nothing to let go of."""

    def close_connection(self, connection: Any) -> None:
        """Do nothing: there is nothing to let go of."""

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """Return the URL as it is: there are no secrets in it."""
        return uri
