"""What a broker delivers, read as an envelope: before anything of it is believed."""

from typing import TYPE_CHECKING

from kombu.message import Message

from messaging.codec import decode
from messaging.envelope import Envelope
from messaging.errors import BadSignature, DecodeError

if TYPE_CHECKING:
    from messaging.bus import MessageBus


def read(message: Message, bus: "MessageBus", service: str) -> Envelope:
    """Return the envelope in a message that a service was given.

    Raises:
        DecodeError: it is none, or nobody can tell who said it; see `Parking.park_delivery`.
    """
    size, limit = len(message.body), bus.config.max_message_bytes
    if size > limit:
        raise DecodeError(f"{size} bytes, the limit is {limit}", reason="too_large")
    if message.content_type != "application/json":
        raise DecodeError(f"content type {message.content_type!r} is not accepted")
    envelope = decode(message.body, bus.keyring)
    if bus.keyring.has_keys and envelope.target not in ("", service):
        raise BadSignature(f"it was said to {envelope.target!r}", envelope)
    return envelope
