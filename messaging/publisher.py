"""Publishing on a held connection, with every fate of a message told apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from kombu import Exchange, Queue

from messaging.errors import (
    BrokerError,
    BrokerRecovering,
    BrokerUnavailable,
    MessagingError,
    PartlyRefused,
    PublishError,
    PublishUncertain,
    Unroutable,
)
from messaging.held_connection import HeldConnection, is_full, text_of
from messaging.wire import CONTENT_ENCODING, CONTENT_TYPE, WireMessage

#: AMQP reply code of a mandatory message that no queue took.
NO_ROUTE: Final = 312


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


class Publisher(HeldConnection):
    """One connection and channel to publish on. Not thread-safe: borrow it from the pool."""

    def publish(self, addressed: Addressed) -> None:
        """Hand one message to the broker; on return it has confirmed that it has it.

        A held connection that turns out dead is replaced once.

        Raises:
            Unroutable: mandatory, and no queue took it. NOT sent.
            PublishError: the broker refused it. NOT sent.
            BrokerRecovering: an event, soon after the connection broke. NOT sent; safe to send
                again.
            BrokerUnavailable: no connection, or no room at all. NOT sent; safe to send again.
            PublishUncertain: the connection broke before the broker confirmed, or an event found
                room in some queues. Maybe sent.
            PartlyRefused: an event, and not every queue took it.
        """
        was_held = self._channel is not None
        declare = addressed.declare
        was_declared = declare is not None and declare.name in self._declared
        try:
            self._attempt(addressed)
        except BrokerRecovering:
            raise  # the connection is good
        except (BrokerError, PublishError) as exc:
            if isinstance(exc.__cause__, self._nacks):
                raise  # the connection is good, and the queue would say the same again
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
            if not isinstance(exc, BrokerRecovering):
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
            self._note_break(exc)
            raise PublishUncertain(text_of(exc)) from exc
        return True

    def forget_declared(self) -> None:
        """Declare everything again when it is next published to."""
        self._declared.clear()

    def _attempt(self, addressed: Addressed) -> None:
        self._ensure_connected()
        message, exchange, routing_key, declare, mandatory = addressed
        is_broadcast = bool(exchange) and not mandatory
        if is_broadcast:
            self._rebinding.check()
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
            error = self._translated(exc, exchange, routing_key, is_broadcast=is_broadcast)
            raise error from exc
        self._used_at = self._monotonic()

    def _translated(
        self, exc: BaseException, exchange: str, key: str, *, is_broadcast: bool = False
    ) -> MessagingError:
        """Return what an error says of a message that was on its way."""
        if getattr(exc, "reply_code", None) == NO_ROUTE:
            return Unroutable(exchange, key)
        if isinstance(exc, self._connection.connection_errors):
            self._note_break(exc)
            return PublishUncertain(f"the connection broke while publishing: {text_of(exc)}")
        if is_full(exc):
            text = f"the broker has no room: {text_of(exc)}"
            # A broadcast is put into one queue after the other.
            return PublishUncertain(text) if is_broadcast else BrokerUnavailable(text)
        if not isinstance(exc, self._nacks):
            return PublishError(f"the broker refused the message: {text_of(exc)}")
        text = "the broker refused the message: its queue is full by a policy, or has failed"
        # One nack for all queues that it was routed to: those that could have taken it.
        return PartlyRefused(f"{text}; others may have it") if is_broadcast else PublishError(text)
