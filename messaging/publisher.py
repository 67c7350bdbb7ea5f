"""One held connection that publishes, with every error of the broker told apart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from messaging.errors import (
    BrokerError,
    BrokerUnavailable,
    PublishError,
    PublishUncertain,
    Unroutable,
)
from messaging.refusal import refusal
from messaging.wire import CONTENT_ENCODING, CONTENT_TYPE, WireMessage

#: AMQP reply code of a mandatory message that no queue took.
NO_ROUTE: Final = 312
#: …of a passive declare of what is not there.
NOT_FOUND: Final = "404"
#: A connection that rested longer is probed before use: brokers restart, firewalls forget.
PROBE_AFTER_SECONDS: Final = 1.0


class Addressed(NamedTuple):
    """A message and where it goes."""

    message: WireMessage
    #: Name of an exchange, ``""`` for the default one.
    exchange: str
    #: Queue name with the default exchange, else the key to route by.
    routing_key: str
    #: A queue or exchange to make sure of first; remembered for a connection.
    declare: Queue | Exchange | None = None
    #: Whether being routed nowhere is an error.
    mandatory: bool = False


class Publisher:
    """One connection and channel to publish on. Not thread-safe: borrow it from the pool.

    Args:
        connection: an unopened kombu connection, opened when first needed.
        timeout_seconds: longest wait for connecting, and for each answer of the broker.
        monotonic: the clock that measures rest.
        on_channel: called with each new channel.
    """

    def __init__(
        self,
        connection: Connection,
        timeout_seconds: float,
        monotonic: Callable[[], float],
        on_channel: Callable[[Any], None] = lambda _channel: None,
    ) -> None:
        self._on_channel = on_channel
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._channel: Any = None
        self._declared: set[str] = set()
        self._used_at = 0.0

    def publish(self, addressed: Addressed) -> None:
        """Hand one message to the broker; on return it has confirmed that it has it.

        A held connection that turns out dead is replaced once.

        Raises:
            Unroutable: mandatory, and no queue took it. NOT sent.
            PublishError: the broker refused it. NOT sent.
            BrokerUnavailable: no connection. NOT sent; safe to send again.
            PublishUncertain: the connection broke before the broker confirmed. Maybe sent.
        """
        was_held = self._channel is not None
        declare = addressed.declare
        was_declared = declare is not None and declare.name in self._declared
        try:
            self._attempt(addressed)
        except (BrokerError, PublishError) as exc:
            # Whatever it was: RabbitMQ closes a channel with its answer, and what was declared
            # on this connection may be gone with the broker's contents.
            self.close()
            may_heal = was_declared if isinstance(exc, Unroutable) else was_held
            if not may_heal:
                raise
            first = exc
        else:
            return
        try:
            self._attempt(addressed)
        except (BrokerError, PublishError) as exc:
            self.close()
            if isinstance(first, PublishUncertain):
                raise first from exc  # the first copy may have arrived all the same
            raise

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have the broker take all that is published in the block at its end, or none of it.

        Where it has transactions of many messages. Nothing is sent if the block raises.

        Raises:
            PublishError, BrokerError: as `publish`, of all of them.
        """
        self._ensure_connected()
        try:
            with self._channel.batch():
                yield
        except BrokerError:
            raise  # of the embedded broker, which knows for certain
        except self._errors as exc:
            raise self._translated(exc, "", "one of many") from exc

    def read(self, seconds: float) -> bool:
        """Read what the broker says of what was published; return False if nothing came in time.

        Raises:
            PublishUncertain: the connection broke.
        """
        if self._channel is None:
            raise PublishUncertain("the connection broke")
        try:
            self._connection.drain_events(timeout=seconds)
        except TimeoutError:
            return False
        except self._errors as exc:
            raise PublishUncertain(_text(exc)) from exc
        return True

    def declare(self, entity: Queue | Exchange) -> None:
        """Have it exist, with its bindings. Raises BrokerUnavailable, PublishError."""
        self._ensure_connected()
        self._declare(entity)

    def forget_declared(self) -> None:
        """Declare everything again when it is next published to."""
        self._declared.clear()

    def bound_queues(self, exchange: str) -> set[str]:
        """Return the queues bound to a direct exchange, on brokers without ``mandatory``.

        Raises:
            BrokerUnavailable: no connection.
        """
        self._ensure_connected()
        try:
            return {row[2] for row in self._channel.get_table(exchange)}
        except KeyError:
            return set()  # nobody has declared that exchange yet
        except self._errors as exc:
            self.close()
            raise BrokerUnavailable(_text(exc)) from exc

    def queue_length(self, queue: str) -> int | None:
        """Return how many messages wait in a queue; None if there is none of that name.

        Raises:
            BrokerUnavailable: no connection.
        """
        self._ensure_connected()
        try:
            if self._connection.transport.driver_type == "redis":
                # A list that is empty is none. A passive declare asks for the name without
                # kombu's prefix (5.7), and finds nothing where there is one.
                return int(self._channel._size(queue))
            # A channel of its own: RabbitMQ closes it with its answer if the queue is missing.
            with self._connection.channel() as channel:
                return int(channel.queue_declare(queue, passive=True).message_count)
        except self._connection.channel_errors as exc:
            self.close()
            if str(getattr(exc, "code", "")) == NOT_FOUND:
                return None
            raise BrokerUnavailable(_text(exc)) from exc
        except BrokerError:
            self.close()
            raise
        except self._errors as exc:
            self.close()
            raise BrokerUnavailable(_text(exc)) from exc

    def levels(self, queue: str) -> dict[int, tuple[int, Any]]:
        """Return what waits in a queue by priority number, see `redis_transport`: on Redis only.

        Raises:
            BrokerUnavailable: no connection.
        """
        self._ensure_connected()
        try:
            found: dict[int, tuple[int, Any]] = self._channel.levels(queue)
        except self._errors as exc:
            self.close()
            raise BrokerUnavailable(_text(exc)) from exc
        return found

    def delete_queue(self, queue: str) -> None:
        """Remove a queue and what is in it.

        Raises:
            BrokerUnavailable: no connection.
        """
        self._ensure_connected()
        try:
            self._channel.queue_delete(queue)
        except self._errors as exc:
            self.close()
            raise BrokerUnavailable(_text(exc)) from exc

    def close(self) -> None:
        """Drop the connection; the next publish opens it anew. Idempotent."""
        self._channel = None
        self._declared.clear()
        self._connection.close()

    @property
    def _errors(self) -> tuple[type[BaseException], ...]:
        return (*self._connection.connection_errors, *self._connection.channel_errors, OSError)

    def _attempt(self, addressed: Addressed) -> None:
        self._ensure_connected()
        message, exchange, routing_key, declare, mandatory = addressed
        if declare is not None and declare.name not in self._declared:
            self._declare(declare)
        channel = self._channel
        prepared = channel.prepare_message(
            message.body,
            priority=message.priority,
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            headers=message.headers,
            properties=dict(message.properties),
        )
        try:
            channel.basic_publish(
                prepared,
                exchange=exchange,
                routing_key=routing_key,
                mandatory=mandatory,
                confirm_timeout=self._timeout_seconds,
            )
        except BrokerError:
            raise
        except self._errors as exc:
            raise self._translated(exc, exchange, routing_key) from exc
        self._used_at = self._monotonic()

    def _translated(self, exc: BaseException, exchange: str, key: str) -> PublishError:
        """Return what an error says of a message that was on its way."""
        if getattr(exc, "reply_code", None) == NO_ROUTE:
            return Unroutable(exchange, key)
        if isinstance(exc, self._connection.connection_errors):
            return PublishUncertain(f"the connection broke while publishing: {_text(exc)}")
        return PublishError(f"the broker refused the message: {_text(exc)}")

    def _ensure_connected(self) -> None:
        try:
            if self._channel is None:
                self._connection.ensure_connection(
                    max_retries=1, interval_start=0.1, timeout=self._timeout_seconds
                )
                channel = self._connection.channel()
                self._on_channel(channel)
                self._channel = channel
            elif self._monotonic() - self._used_at > PROBE_AFTER_SECONDS:
                self._probe()
        except BrokerError:
            raise
        except (*self._errors, OperationalError) as exc:
            raise BrokerUnavailable(refusal(exc) or _text(exc)) from exc
        self._used_at = self._monotonic()

    def _probe(self) -> None:
        """Find out whether a rested connection still lives, before anything is sent on it."""
        driver = self._connection.transport.driver_type
        if driver == "amqp":
            try:
                self._connection.drain_events(timeout=0)
            except TimeoutError:
                return  # nothing to read: neither a farewell nor a reset
        elif driver == "redis":
            self._channel.client.ping()

    def _declare(self, entity: Queue | Exchange) -> None:
        try:
            entity(self._channel).declare()
        except BrokerError:
            raise
        except self._errors as exc:
            if isinstance(exc, self._connection.connection_errors):
                raise BrokerUnavailable(_text(exc)) from exc
            raise PublishError(f"{entity.name!r} cannot be declared: {_text(exc)}") from exc
        self._declared.add(entity.name)


def _text(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
