"""What a service says without waiting for an answer: commands to one, broadcasts to all."""

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from messaging.compose import Composer, seconds_until
from messaging.config import MessagingConfig
from messaging.declaring import Declaring
from messaging.envelope import MessageKind, MessagePriority
from messaging.errors import QueueFull
from messaging.parking import Parking
from messaging.registration import INTERNAL, Identity
from messaging.spans import Spans, spans_for


class Sender(Declaring):
    """Sends and broadcasts under the name of one service. Thread-safe; safe across forks.

    Args:
        identity: of the service.
        config: the settings; None: ``settings.MESSAGING``, read when first needed.
    """

    def __init__(self, identity: Identity, config: MessagingConfig | None) -> None:
        super().__init__(config)
        self.identity = identity
        self._composer = Composer(identity.name, self.check_sent)
        #: Where messages go that this service gives up.
        self.parking = Parking(self)

    @property
    def name(self) -> str:
        """The service this speaks for."""
        return self.identity.name

    @functools.cached_property
    def spans(self) -> Spans:
        """What traces show of this service."""
        return spans_for(self.bus.config, self.identity)

    def send_to_service(
        self,
        target: str,
        message_type: str,
        data: Any = None,
        *,
        priority: MessagePriority | str = MessagePriority.NORMAL,
        delay: float | None = None,
        send_at: datetime | None = None,
        expires_in: float | None = None,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        dedup_key: str | None = None,
        ordering_key: str | None = None,
        durable: bool = False,
    ) -> str:
        """Send a command to one service; it waits there, also for a service never started.

        On return the broker has it, or the database where the broker is away (NORMAL and up) or
        where ``delay`` is given; a relay publishes it from there. On RabbitMQ, NORMAL sent outside
        of handlers may still be on its way: what the broker does not confirm goes to the database
        as long as this process lives. CRITICAL is always written to the database, in the caller's
        transaction and rolled back with it, and kept there until the receiver has told its
        outcome. Blocks for a few ``broker_timeout_seconds`` at most.

        Args:
            target: name of the service.
            message_type: what it is about, dot-separated.
            data: the payload, any JSON value.
            priority: a `MessagePriority` or its name.
            delay: seconds before it is sent.
            send_at: the instant at which it is sent, with its offset from UTC, instead of a delay;
                one that is past: now.
            expires_in: seconds after which nobody may handle it any more.
            correlation_id: of the conversation; None: the handled message's, or its own id.
            headers: free for the application.
            dedup_key: what this service sends under one key is one message, sent again or not:
                it is handled once by each receiver, as long as that remembers it.
            ordering_key: what is sent to one service under one key is handled one at a time, in
                the order of its sending, across workers, retries and redeliveries; one that is
                parked or has expired does not hold up those behind it. Kept in the database as
                ``durable`` is; not together with a delay.
            durable: kept in the database until the receiver has told the outcome, as CRITICAL
                always is, and tried as often as its priority says.

        Returns:
            The message id.

        Raises:
            ValueError: a name or duration is not valid. NOT sent.
            EncodeError, MessageTooLarge: cannot be sent.
            BrokerUnavailable: LOW only. NOT sent; safe to send again.
            PublishUncertain: LOW only. Maybe sent; sending again may double it.
            QueueFull, TooManyMessages: beyond a limit of the settings. NOT sent; safe to send
                again.
        """
        delay = seconds_until(send_at, delay)
        with self.spans.sending(MessageKind.COMMAND, message_type, target) as span:
            envelope = self._composer.compose(
                MessageKind.COMMAND,
                message_type,
                data,
                target=target,
                priority=priority,
                expires_in=expires_in,
                delay=delay,
                correlation_id=correlation_id,
                headers=headers,
                dedup_key=dedup_key,
                ordering_key=ordering_key,
                under_custody=self.bus.keeps_custody(
                    message_type, priority, durable=durable or ordering_key is not None
                ),
            )
            if span is not None:
                span.is_of(envelope)
            if message_type not in INTERNAL:
                self.bus.dispatch.limits.check_rate()
            try:
                return self.bus.dispatch.send(
                    envelope, delay=delay, may_repeat=dedup_key is not None
                )
            except QueueFull as exc:
                if self.bus.config.queue_full != "park":
                    raise
                self.parking.park_unsent(envelope, exc)
                return envelope.id

    def broadcast(
        self,
        message_type: str,
        data: Any = None,
        *,
        priority: MessagePriority | str = MessagePriority.NORMAL,
        delay: float | None = None,
        send_at: datetime | None = None,
        expires_in: float | None = None,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        dedup_key: str | None = None,
        ordering_key: str | None = None,
    ) -> str:
        """Tell every service that subscribes to this type; each handles it once.

        A service is subscribed from its first start on, and gets what is broadcast while it is
        down. CRITICAL goes to the gateway, which answers for one copy for each service that is
        subscribed by then; so does what has an ordering key, which holds for each service by
        itself. Arguments, errors and promises as with `send_to_service`.

        Returns:
            The message id, the same for all.
        """
        delay = seconds_until(send_at, delay)
        with self.spans.sending(MessageKind.EVENT, message_type, "") as span:
            envelope = self._composer.compose(
                MessageKind.EVENT,
                message_type,
                data,
                priority=priority,
                expires_in=expires_in,
                delay=delay,
                correlation_id=correlation_id,
                headers=headers,
                dedup_key=dedup_key,
                ordering_key=ordering_key,
                under_custody=self.bus.keeps_custody(
                    message_type, priority, durable=ordering_key is not None
                ),
            )
            if span is not None:
                span.is_of(envelope)
            self.bus.dispatch.limits.check_rate()
            return self.bus.dispatch.send(envelope, delay=delay, may_repeat=dedup_key is not None)

    def tell(self, target: str, message_type: str, data: Any, *, expires_in: float) -> None:
        """Send a command that is worth nothing once it is late: never kept in the database.

        Raises:
            BrokerUnavailable, PublishUncertain: not sent, or maybe; the next one will tell.
        """
        envelope = self._composer.compose(
            MessageKind.COMMAND,
            message_type,
            data,
            target=target,
            priority=MessagePriority.HIGH,
            expires_in=expires_in,
        )
        self.bus.publish(envelope)
