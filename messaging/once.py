"""Which messages may come twice, and how it is seen to that they are handled once."""

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from messaging.custody.arrival import Arrival
from messaging.envelope import Envelope, MessageKind, utc_now
from messaging.handlers import Handler
from messaging.registration import PERISHABLE

if TYPE_CHECKING:
    from messaging.communicator import ServiceCommunicator


def is_recorded(
    envelope: Envelope, arrival: Arrival, handler: Handler | None, *, is_signed: bool
) -> bool:
    """Return whether a message may come twice, or must not be handled twice.

    What was sent straight to the broker, and comes for the first time, is the only copy there is.
    Where messages are signed that is not taken for granted.
    """
    if envelope.type in PERISHABLE:
        return False
    is_atomic = handler is not None and handler.atomic
    may_come_twice = envelope.custodian or arrival.redelivered or arrival.publishes
    return bool(may_come_twice or is_atomic or is_signed)


def may_be_ignored(envelope: Envelope) -> bool:
    """Return whether nobody misses a message where its service has no handler for it."""
    return envelope.kind is MessageKind.EVENT and not envelope.custodian


def why_not_new(envelope: Envelope, service: str) -> str | None:
    """Note that a service begins with a signed request; say why it must not; None: it may.

    Raises:
        DatabaseError: nothing is noted; the broker must keep the message.
    """
    from messaging.custody import seen  # Django's models load late

    expires_at = envelope.expires_at
    if expires_at is None or expires_at > utc_now() + timedelta(seconds=seen.MOST_SECONDS):
        return f"a signed request has to expire within {seen.MOST_SECONDS:g} s"
    if not seen.is_new(envelope, service):
        return f"{service} has begun with this request before: sent again by somebody"
    return None


def limit_seconds(
    communicator: "ServiceCommunicator", envelope: Envelope, arrival: Arrival
) -> float:
    """Return how long the handler of a delivery may run; infinity where nothing limits it.

    Only runs by the inbox have a limit: their lease is renewed no longer than that.
    """
    handler = communicator.bus.handlers.find(envelope.type)
    is_request = envelope.kind is MessageKind.REQUEST
    is_signed = communicator.bus.keyring.has_keys
    if handler is None or is_request:
        return math.inf
    if not is_recorded(envelope, arrival, handler, is_signed=is_signed):
        return math.inf
    if handler.timeout is not None:
        return handler.timeout
    return communicator.bus.config.handler_timeout_seconds
