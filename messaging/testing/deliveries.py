"""What the broker in memory holds, as kombu's messages."""

from kombu.message import Message

from messaging.testing.broker import Stored


def message_of(stored: Stored) -> Message:
    """Return what a consumer would be handed."""
    properties = dict(stored.properties)
    return Message(
        body=stored.body,
        delivery_tag=stored.number,
        content_type=properties.get("content_type"),
        content_encoding=properties.get("content_encoding"),
        headers=dict(stored.headers),
        properties=properties,
        delivery_info={"redelivered": stored.redelivered},
    )
