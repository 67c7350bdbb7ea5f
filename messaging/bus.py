"""MessageBus: what is published, and who subscribed to what."""

import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from kombu import Connection

from messaging import codec
from messaging.batches import BatchPublisher, Copy
from messaging.brokers import profile_of
from messaging.clock import BUS_CLOCK, Clock
from messaging.compose import Composer
from messaging.config import MessagingConfig
from messaging.custody.down import DownTargets
from messaging.dispatch import Dispatch
from messaging.envelope import Envelope, MessageKind, MessagePriority
from messaging.errors import MessagingError
from messaging.events import emit, message_published
from messaging.handlers import Handler, HandlerTable
from messaging.pipeline import Pipeline
from messaging.publisher import Addressed, Publisher
from messaging.publisher_pool import PublisherPool
from messaging.rebinding import Rebinding
from messaging.registration import DEAD_LETTER, PERISHABLE
from messaging.requester import Requester
from messaging.retry import RetryPolicy
from messaging.round_trips import RoundTrips
from messaging.signing import Keyring
from messaging.topology import Topology
from messaging.wire import WireMessage, to_wire

if TYPE_CHECKING:
    from pydantic import BaseModel

logger = logging.getLogger(__name__)

#: Dead letters carry the raw body of a message that may itself have been too large.
UNLIMITED_TYPES: Final = frozenset({DEAD_LETTER})


class MessageBus:
    """Puts envelopes on the broker, and knows the handlers that this process subscribed.

    Thread-safe; safe across forks. Opens no connection before the first publish.

    Args:
        config: the settings.
        clock: time, for tests to move.
    """

    def __init__(self, config: MessagingConfig, clock: Clock = BUS_CLOCK) -> None:
        self.config = config
        self.clock = clock
        self.profile = profile_of(config)
        self.topology = Topology(config, self.profile)
        #: Signs what is sent and checks what comes; false where nothing is signed.
        self.keyring = Keyring.parse(
            config.signing_keys, config.gateway_name, config.unsigned_until
        )
        self.handlers = HandlerTable(checks_answers=config.check_sends == "raise")
        self.dispatch = Dispatch(self)
        self._rebinding = Rebinding(clock.monotonic)
        self._pool: PublisherPool[Publisher] = PublisherPool(
            self._open_publisher, config.broker_timeout_seconds
        )
        self._batches = BatchPublisher(self, self._open_late_publisher)
        self.round_trips = RoundTrips(self)
        #: Whether a service is known to serve nobody; set by who keeps the registry, and asked
        #: through `down`. None: nobody here knows.
        self.is_down: Callable[[str], bool] | None = None
        self.down = DownTargets(self)

    def subscribe(
        self,
        pattern: str,
        function: Callable[..., Any],
        *,
        retry: RetryPolicy | None = None,
        atomic: bool = False,
        timeout: float | None = None,
        schema: "type[BaseModel] | None" = None,
        answers: Any = None,
        senders: Iterable[str] | None = None,
        built_in: bool = False,
    ) -> Handler:
        """Have messages whose type matches the pattern handed to the function.

        Args:
            pattern: a message type, or a topic pattern with ``*`` and ``#``.
            function: takes ``(data)`` or ``(data, message)``; may be ``async def``.
            retry: when to try again; None: the default of the message's priority.
            atomic: whether it runs in the transaction that notes the message as handled.
            timeout: seconds one run may take; None: ``handler_timeout_seconds``.
            schema: a pydantic model; the function gets an instance of it, validated.
            answers: a type that pydantic knows: what the function returns.
            senders: the services that may send it; None: all.
            built_in: the library's own; not bound to broadcasts.

        Raises:
            ConfigurationError: no pattern, a second handler for it, another signature of the
                function, no model, no names.
        """
        return self.handlers.add(
            pattern,
            function,
            retry=retry,
            atomic=atomic,
            timeout=timeout,
            schema=schema,
            answers=answers,
            senders=senders,
            built_in=built_in,
        )

    def publish(self, envelope: Envelope, *, to: str | None = None, publishes: int = 0) -> None:
        """Put a command or event on the broker; on return the broker has it.

        A command waits in the target's queue, also when the target was never started. An event
        goes to whoever is subscribed by now. Blocks for a few ``broker_timeout_seconds`` at most.

        Args:
            envelope: the message.
            to: put it into the queue of this service alone, whatever its kind.
            publishes: how often it is published, this time included, where it may be more than
                once; the receiver then makes sure that it is handled once.

        Raises:
            EncodeError, MessageTooLarge: cannot be sent.
            BrokerUnavailable, BrokerBusy: NOT sent; safe to send again.
            PublishUncertain: maybe sent; send again only with the same id.
        """
        message = self.wire(envelope, expires=envelope.type in PERISHABLE, publishes=publishes)
        with self._pool.publisher() as publisher:
            publisher.publish(self._address(envelope, to, message))
        emit(message_published, envelope.source, envelope=envelope)

    def publish_without_wait(self, envelope: Envelope, *, publishes: int = 0) -> None:
        """Put a command or event on its way; this process sees to it that it arrives.

        What the broker does not confirm goes to the outbox. `flush` waits for that.

        Raises:
            EncodeError, MessageTooLarge: cannot be sent.
            BrokerUnavailable: NOT sent; safe to send again.
            PublishUncertain: maybe sent; send again only with the same id.
        """
        message = self.wire(envelope, expires=False, publishes=publishes)
        self.pipeline.publish(envelope, self._address(envelope, None, message))

    def publish_all(self, copies: Sequence[Copy]) -> list[MessagingError | None]:
        """Publish commands and events that are on record, in this order, many at a time.

        A copy whose fate is not known is published again, so its receiver must recognise it.

        Returns:
            For each what went wrong; None: the broker has it. Once the broker is found to be away
            the others are not tried, and have the same error.
        """
        return self._batches.publish(copies)

    def addressed(self, copy: Copy) -> Addressed:
        """Return what goes over the wire for one copy, and where.

        Raises:
            MessageTooLarge: over the limit, which was another one when it was accepted.
        """
        envelope, body, to, publishes = copy
        codec.check_size(body, self.size_limit(envelope.type))
        number = self.topology.priority_number(envelope.priority)
        expires = envelope.type in PERISHABLE
        message = to_wire(envelope, body, number, expires=expires, publishes=publishes)
        return self._address(envelope, to, message)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until nothing that was sent without a wait is in this process alone."""
        if "pipeline" not in self.__dict__:
            return True
        return self.pipeline.flush(timeout_seconds)

    def encode(self, envelope: Envelope) -> str:
        """Return the body of the task that carries an envelope, signed where there are keys.

        Raises:
            EncodeError, MessageTooLarge, ConfigurationError: cannot be sent; see `codec.encode`.
        """
        return codec.encode(envelope, self.size_limit(envelope.type), self.keyring)

    def size_limit(self, message_type: str) -> int | None:
        """Return how many bytes a message of this type may have; None: no limit."""
        return None if message_type in UNLIMITED_TYPES else self.config.max_message_bytes

    def keeps_custody(
        self, message_type: str, priority: MessagePriority | str, *, durable: bool = False
    ) -> bool:
        """Return whether a message is answered for until its outcome is known."""
        is_kept = durable or priority == MessagePriority.CRITICAL or self.config.ledger == "all"
        return is_kept and message_type not in PERISHABLE

    def new_requester(self, composer: Composer, service: str) -> Requester:
        """Return what asks other services over this bus, in the name of a service."""
        return Requester(self, composer, service)

    def publisher(self) -> AbstractContextManager[Publisher]:
        """Lend a publisher for the length of a ``with`` block; see `PublisherPool`."""
        return self._pool.publisher()

    def connection(self) -> Connection:
        """Return a new, unopened connection for consuming. The caller closes it."""
        options = self.profile.transport_options(self.config)
        return self._new_connection(options)

    def close(self) -> None:
        """Close the idle connections. The bus may be used again afterwards."""
        if "pipeline" in self.__dict__:
            self.pipeline.close()
        self._batches.close()
        self._pool.close()

    def _address(self, envelope: Envelope, to: str | None, message: WireMessage) -> Addressed:
        if to is not None or envelope.kind is MessageKind.COMMAND:
            queue = self.topology.service_queue(to or envelope.target)
            return Addressed(message, "", queue.name, queue, mandatory=True)
        if envelope.kind is MessageKind.EVENT:
            exchange = self.topology.events_exchange
            return Addressed(message, exchange.name, envelope.type, exchange)
        raise ValueError("requests and replies make round trips")

    @functools.cached_property
    def pipeline(self) -> Pipeline:
        """What publishes without a wait, where confirms come later."""
        return Pipeline(
            self._open_late_publisher,
            self.dispatch.keep,
            lambda envelope: emit(message_published, envelope.source, envelope=envelope),
            self.config.broker_timeout_seconds,
        )

    def wire(self, envelope: Envelope, *, expires: bool, publishes: int = 0) -> WireMessage:
        """Return what goes over the wire; see `wire.to_wire`.

        Raises:
            EncodeError, MessageTooLarge: cannot be sent.
        """
        body = self.encode(envelope)
        number = self.topology.priority_number(envelope.priority)
        return to_wire(envelope, body, number, expires=expires, publishes=publishes)

    def _open_publisher(
        self, on_channel: Callable[[Any], None] = lambda _channel: None, **options: Any
    ) -> Publisher:
        options = {
            **self.profile.transport_options(self.config),
            **self.profile.publisher_options(self.config),
            **options,
        }
        return Publisher(
            self._new_connection(options),
            self.config.broker_timeout_seconds,
            self.clock.monotonic,
            self._rebinding,
            on_channel,
        )

    def _open_late_publisher(self, on_channel: Callable[[Any], None]) -> Publisher:
        return self._open_publisher(on_channel, confirm_publish=False)  # wait for each, it means

    def _new_connection(self, options: dict[str, Any]) -> Connection:
        return Connection(
            self.config.broker_url,
            transport=self.profile.transport,
            connect_timeout=self.config.broker_timeout_seconds,
            transport_options=options,
        )
