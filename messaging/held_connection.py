"""One connection that is held and looked after, with every error of the broker told apart."""

from collections.abc import Callable
from typing import Any, Final

from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from messaging.errors import BrokerError, BrokerUnavailable, PublishError
from messaging.rebinding import Rebinding
from messaging.refusal import refusal

#: AMQP's code for a passive declare of what is not there.
NOT_FOUND: Final = "404"
#: Of Redis at ``maxmemory``, also where a script says so.
FULL: Final = "command not allowed when used memory > 'maxmemory'"
#: A connection that rested longer is probed before use: brokers restart, firewalls forget.
PROBE_AFTER_SECONDS: Final = 1.0


class HeldConnection:
    """A connection and a channel, opened when first needed. Not thread-safe.

    Args:
        connection: an unopened kombu connection.
        timeout_seconds: longest wait for connecting, and for each answer of the broker.
        monotonic: the clock that measures rest.
        rebinding: shared by all connections of the process.
        on_channel: called with each new channel.
    """

    def __init__(
        self,
        connection: Connection,
        timeout_seconds: float,
        monotonic: Callable[[], float],
        rebinding: Rebinding,
        on_channel: Callable[[Any], None] = lambda _channel: None,
    ) -> None:
        self._on_channel = on_channel
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._rebinding = rebinding
        self._opened_at: float | None = None
        self._channel: Any = None
        self._declared: set[str] = set()
        self._used_at = 0.0

    def declare(self, entity: Queue | Exchange) -> None:
        """Have it exist, with its bindings. Raises BrokerUnavailable, PublishError."""
        self._ensure_connected()
        self._declare(entity)

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
            raise self._given_up(exc) from exc

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
            raise self._given_up(exc) from exc
        except BrokerError:
            self.close()
            raise
        except self._errors as exc:
            raise self._given_up(exc) from exc

    def levels(self, queue: str) -> dict[int, tuple[int, Any]]:
        """Return what waits in a queue by priority number, see `redis_transport`: on Redis only.

        Raises:
            BrokerUnavailable: no connection.
        """
        self._ensure_connected()
        try:
            found: dict[int, tuple[int, Any]] = self._channel.levels(queue)
        except self._errors as exc:
            raise self._given_up(exc) from exc
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
            raise self._given_up(exc) from exc

    def close(self) -> None:
        """Drop the connection; the next publish opens it anew. Idempotent."""
        self._channel = None
        self._opened_at = None
        self._declared.clear()
        self._connection.close()

    @property
    def _errors(self) -> tuple[type[BaseException], ...]:
        connection = self._connection
        return (*connection.connection_errors, *connection.channel_errors, *self._nacks, OSError)

    @property
    def _nacks(self) -> tuple[type[BaseException], ...]:
        """What says that a queue refused a message, on a connection that is as good as before.

        py-amqp has its own among what can be tried again, and nowhere else.
        """
        connection = self._connection
        known = {*connection.connection_errors, *connection.channel_errors}
        return tuple(
            each for each in connection.recoverable_connection_errors if each not in known
        )

    def _given_up(self, exc: BaseException) -> BrokerUnavailable:
        """Close the connection; return what its error means to a caller."""
        self._note_break(exc)
        self.close()
        return BrokerUnavailable(text_of(exc))

    def _note_break(self, exc: BaseException) -> None:
        if isinstance(exc, self._connection.connection_errors):
            self._rebinding.broke(self._opened_at)

    def _ensure_connected(self) -> None:
        try:
            if self._channel is None:
                self._connection.ensure_connection(
                    max_retries=1, interval_start=0.1, timeout=self._timeout_seconds
                )
                channel = self._connection.channel()
                self._on_channel(channel)
                self._channel = channel
                self._rebinding.connected()
                self._opened_at = self._monotonic()
            elif self._monotonic() - self._used_at > PROBE_AFTER_SECONDS:
                self._probe()
        except BrokerError:
            raise
        except (*self._errors, OperationalError) as exc:
            self._rebinding.broke(self._opened_at)
            raise BrokerUnavailable(refusal(exc) or text_of(exc)) from exc
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
            if isinstance(exc, self._connection.connection_errors) or is_full(exc):
                raise self._given_up(exc) from exc
            raise PublishError(f"{entity.name!r} cannot be declared: {text_of(exc)}") from exc
        self._declared.add(entity.name)


def is_full(exc: BaseException) -> bool:
    """Return whether a broker has no room for anything: as good as away, to who publishes."""
    return FULL in str(exc)


def text_of(exc: BaseException) -> str:
    """Return the text of an error with its class, for people."""
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
