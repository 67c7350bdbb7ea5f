"""An envelope as a Celery protocol-2 message: body, headers and AMQP properties.

Source: https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from messaging.codec import TASK_NAME
from messaging.envelope import Envelope, MessageKind, MessagePriority, utc_now

CONTENT_TYPE: Final = "application/json"
CONTENT_ENCODING: Final = "utf-8"
#: AMQP delivery mode of a message that survives a restart of the broker.
PERSISTENT: Final = 2
TRANSIENT: Final = 1


@dataclass(frozen=True, slots=True)
class WireMessage:
    """What a broker is handed."""

    body: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    priority: int


#: Headers of a copy that may not be the only one: when, and the how manieth.
SENT_AT_HEADER: Final = "sent_at"
PUBLISHES_HEADER: Final = "publishes"


def to_wire(
    envelope: Envelope, body: str, priority: int, *, expires: bool, publishes: int = 0
) -> WireMessage:
    """Return the message that carries an envelope.

    Args:
        envelope: the message.
        body: its encoded form, see `codec.encode`.
        priority: the broker's number for its priority.
        expires: whether the broker shall drop it when it expires. Only for messages nobody waits
            for any more by then; others are kept, so that the receiver can put them on record.
        publishes: how often it is put on the broker, this time included; 0: this once, for sure.
    """
    properties: dict[str, Any] = {
        "correlation_id": envelope.correlation_id,
        "delivery_mode": TRANSIENT if envelope.reply_to or expires else PERSISTENT,
    }
    if envelope.reply_to is not None:
        properties["reply_to"] = envelope.reply_to
    if expires and envelope.expires_at is not None:
        properties["expiration"] = _milliseconds_until(envelope.expires_at, envelope.created_at)
    if envelope.kind is MessageKind.REPLY:
        # The embedded broker passes it to its one reader past the file; others ignore it.
        properties["handover"] = "direct"
    if envelope.priority is MessagePriority.CRITICAL and envelope.custodian is None:
        # The embedded broker syncs its file before publish returns; others ignore it. What is
        # under custody is on disk already, in the outbox.
        properties["durability"] = "full"
    if envelope.kind is MessageKind.REPLY:
        # Read by whoever asked, and by no Celery worker: no more than names it.
        headers: dict[str, Any] = {"lang": "py", "task": TASK_NAME, "id": envelope.id}
    else:
        headers = task_headers(envelope)
    if publishes:
        headers[SENT_AT_HEADER] = utc_now().isoformat()
        headers[PUBLISHES_HEADER] = publishes
    return WireMessage(body, headers, properties, priority)


def _milliseconds_until(expires_at: datetime, start: datetime) -> str:
    return str(max(0, math.ceil((expires_at - start).total_seconds() * 1000)))


def task_headers(envelope: Envelope) -> dict[str, Any]:
    """Return the headers that make a body a Celery protocol-2 task.

    ``shadow`` is the message type, so Flower and Celery's events show types; the arguments shown
    there are a summary without payload, since events and logs are no place for personal data.
    Optional headers of the protocol that would say what they say by their absence are left out.
    """
    return {
        "lang": "py",
        "task": TASK_NAME,
        "id": envelope.id,
        "root_id": envelope.correlation_id,
        "parent_id": envelope.causation_id,
        "shadow": envelope.type,
        "group": None,
        "argsrepr": f"({envelope.kind} {envelope.source} -> {envelope.target or '*'})",
        "origin": envelope.source,
        "ignore_result": True,
    }
