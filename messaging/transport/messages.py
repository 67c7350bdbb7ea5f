"""kombu's message dictionaries and the rows they become."""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import kombu.utils.json

from messaging.transport.errors import PreconditionFailed

#: Reads and writes datetime, UUID, Decimal and bytes as well; kombu is only partly annotated.
_kombu_json: Any = kombu.utils.json

#: AMQP's range as kombu has it; larger is more urgent.
MOST_URGENT: Final = 9


class Outgoing(NamedTuple):
    """A message on its way in."""

    exchange: str
    routing_key: str
    #: 9 minus the priority.
    prio: int
    #: ``[content type, content encoding, headers, properties]`` as JSON.
    props: str
    body: str | bytes
    #: Seconds until it may be delivered; 0 is at once.
    delay_seconds: float
    #: Seconds it may wait in a queue; None is for ever.
    ttl_seconds: float | None
    mandatory: bool
    #: Whether it may go to its taker's socket instead of the file.
    may_hand_over: bool


class Incoming(NamedTuple):
    """A claimed message on its way out."""

    id: int
    #: Deliveries before this one.
    attempts: int
    expires_at: float | None
    props: str
    body: str | bytes


def outgoing(
    message: Mapping[str, Any], exchange: str, routing_key: str, mandatory: bool
) -> Outgoing:
    """Return a message of kombu's ``prepare_message`` as the row to be.

    Raises:
        PreconditionFailed: ``x-delay`` or ``expiration`` is not a number of milliseconds.
        TypeError: the body is neither text nor bytes, or a header cannot be written as JSON.
    """
    properties, headers = message["properties"], message["headers"]
    body = message["body"]
    if not isinstance(body, str | bytes):
        raise TypeError(f"message body: expected str or bytes, got {type(body).__name__}")
    properties["delivery_info"] = {"exchange": exchange, "routing_key": routing_key}
    expiration = properties.get("expiration")
    return Outgoing(
        exchange,
        routing_key,
        MOST_URGENT - _priority(properties.get("priority")),
        _dumps([message["content-type"], message["content-encoding"], headers, properties]),
        body,
        _seconds("x-delay", headers.get("x-delay", 0)),
        None if expiration is None else _seconds("expiration", expiration),
        mandatory,
        properties.get("handover") == "direct",
    )


#: Queue, message id (0: it is not in the file), expiry (infinite: none), length of the props,
#: whether the body is text.
_HANDED_OVER: Final = struct.Struct("<qqdI?")


def handed_over(message: Outgoing, queue_id: int, now: float, message_id: int = 0) -> bytes:
    """Return the datagram that carries a message to its consumer."""
    props, body = message.props.encode(), message.body
    ttl = math.inf if message.ttl_seconds is None else message.ttl_seconds
    text = isinstance(body, str)
    head = _HANDED_OVER.pack(queue_id, message_id, now + ttl, len(props), text)
    return head + props + (body.encode() if isinstance(body, str) else body)


def taken_over(datagram: bytes) -> tuple[int, Incoming]:
    """Return what `handed_over` wrote: the queue and the message."""
    queue_id, message_id, expires_at, length, is_text = _HANDED_OVER.unpack_from(datagram)
    start = _HANDED_OVER.size + length
    props, body = datagram[_HANDED_OVER.size : start].decode(), datagram[start:]
    until = None if expires_at == math.inf else expires_at
    return queue_id, Incoming(message_id, 0, until, props, body.decode() if is_text else body)


def payload(message: Incoming, consumer_tag: str) -> dict[str, Any]:
    """Return a claimed message as kombu's virtual ``Message`` takes it."""
    content_type, content_encoding, headers, properties = _loads(message.props)
    delivery_info = properties["delivery_info"]
    delivery_info["consumer_tag"] = consumer_tag
    delivery_info["redelivered"] = message.attempts > 0
    delivery_info["delivery_count"] = message.attempts
    delivery_info["priority"] = properties.get("priority", 0)
    if message.attempts:
        headers["x-delivery-count"] = message.attempts  # the header of RabbitMQ's quorum queues
    properties["delivery_tag"] = message.id
    return {
        "body": message.body,
        "content-type": content_type,
        "content-encoding": content_encoding,
        "headers": headers,
        "properties": properties,
    }


def _priority(value: Any) -> int:
    try:
        return max(0, min(int(value or 0), MOST_URGENT))
    except (TypeError, ValueError) as exc:
        raise PreconditionFailed(
            f"priority: expected a number from 0 to 9, got {value!r}"
        ) from exc


def _seconds(name: str, milliseconds: Any) -> float:
    try:
        return max(0.0, float(milliseconds) / 1000)
    except (TypeError, ValueError) as exc:
        raise PreconditionFailed(f"{name}: expected milliseconds, got {milliseconds!r}") from exc


def _dumps(value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError:
        return str(_kombu_json.dumps(value))  # datetime, UUID, bytes …: four times slower


def _loads(text: str) -> Any:
    if '"__type__"' in text:  # what only the slow way has written
        return _kombu_json.loads(text)
    return json.loads(text)
