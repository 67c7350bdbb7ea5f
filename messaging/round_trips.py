"""Requests and their answers on the broker: what waits for nothing but the other side.

An answer says more than a confirm that the request has arrived. So where confirms take a round
trip nobody waits for them here; a request that turns out to be lost ends the wait for its answer.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from messaging.envelope import Envelope
from messaging.errors import MessagingError, PublishError, ServiceNotFound, Unroutable
from messaging.events import emit, message_published
from messaging.publisher import Addressed, Publisher

if TYPE_CHECKING:
    from messaging.bus import MessageBus

logger = logging.getLogger(__name__)

#: How long a service that was seen on the broker is taken to be there.
PRESENCE_SECONDS: Final = 60.0


class RoundTrips:
    """Sends the requests and answers of one bus. Thread-safe; safe across forks."""

    def __init__(self, bus: "MessageBus") -> None:
        self._bus = bus
        #: Queues of services, and until when they are taken to be there.
        self._present_until: dict[str, float] = {}

    def ask(self, request: Envelope, lost: Callable[[MessagingError], None]) -> None:
        """Put a request on its way.

        Args:
            request: the message.
            lost: told, on another thread, of one of the errors below, where that shows only later.

        Raises:
            EncodeError, MessageTooLarge: cannot be sent.
            ServiceNotFound: the service never started. NOT sent.
            BrokerUnavailable, BrokerBusy: NOT sent; safe to send again.
            PublishUncertain: maybe sent.
        """
        target = request.target
        addressed = self._addressed(request)

        def explained(error: PublishError) -> MessagingError:
            return ServiceNotFound(target) if isinstance(error, Unroutable) else error

        if self._bus.profile.confirms_later:
            self._bus.pipeline.publish(request, addressed, lambda error: lost(explained(error)))
            return
        with self._bus.publisher() as publisher:
            if not self._bus.profile.reports_unroutable:
                self._require_presence(publisher, target)
            try:
                publisher.publish(addressed)
            except Unroutable as exc:
                raise explained(exc) from exc
        emit(message_published, request.source, envelope=request)

    def reply(self, reply: Envelope, queue_name: str) -> None:
        """Put the answer to a request on the queue its sender named.

        Where confirms take a round trip, an answer that is lost is only logged: whoever asked
        sees that none came in time.

        Raises:
            Unroutable: the requester is gone. NOT sent.
            EncodeError, MessageTooLarge, BrokerUnavailable, BrokerBusy, PublishUncertain: as
                with `ask`.
        """
        profile, topology = self._bus.profile, self._bus.topology
        message = self._bus.wire(reply, expires=True)
        declare = topology.reply_queue(queue_name) if profile.replies_declare_queue else None
        addressed = Addressed(message, "", queue_name, declare, mandatory=True)
        if profile.confirms_later:
            self._bus.pipeline.publish(reply, addressed, partial(_answer_lost, reply))
            return
        with self._bus.publisher() as publisher:
            publisher.publish(addressed)
        emit(message_published, reply.source, envelope=reply)

    def _addressed(self, request: Envelope) -> Addressed:
        topology, message = self._bus.topology, self._bus.wire(request, expires=True)
        if not self._bus.profile.reports_unroutable:
            # Straight to the queue, which has been seen: by way of an exchange, kombu reads all
            # of its bindings for each message, one for each service.
            return Addressed(message, "", topology.queue_name(request.target))
        exchange = topology.services_exchange
        return Addressed(message, exchange.name, request.target, exchange, mandatory=True)

    def _require_presence(self, publisher: Publisher, target: str) -> None:
        """Ask the broker who is bound, once in a while: it would keep the request for nobody."""
        queue, now = self._bus.topology.queue_name(target), self._bus.clock.monotonic()
        if now < self._present_until.get(queue, 0.0):
            return
        bound = publisher.bound_queues(self._bus.topology.services_exchange.name)
        self._present_until = dict.fromkeys(bound, now + PRESENCE_SECONDS)
        if queue not in bound:
            raise ServiceNotFound(target)


def _answer_lost(reply: Envelope, error: PublishError) -> None:
    is_gone = isinstance(error, Unroutable)
    logger.log(
        logging.INFO if is_gone else logging.WARNING,
        "the answer to %s did not arrive: %s",
        reply.causation_id,
        "the requester is gone" if is_gone else error,
    )
