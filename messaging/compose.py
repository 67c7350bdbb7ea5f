"""Writing envelopes in the name of a service, with what the handled message carries on."""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from messaging.context import current_message, current_trace
from messaging.envelope import (
    NO_HEADERS,
    Envelope,
    MessageKind,
    MessagePriority,
    expiry,
    is_message_type,
    is_ordering_key,
    is_service_name,
    new_message_id,
    read_only,
    utc_now,
)

#: Of the ids that stand for a source and a dedup key. Any constant would do.
_DEDUP_NAMESPACE: Final = uuid.UUID("6d1a7c3e-5f0b-4a43-9a3c-8a1d2f6b7c90")
#: Beyond this a duration is a mistake: milliseconds, or an instant.
MAX_SECONDS: Final = 10 * 365 * 86_400.0


class Composer:
    """Writes the envelopes of one service. Thread-safe.

    Args:
        source: name of the service.
        check: looks at kind, type, target and data of what is about to be sent.
    """

    def __init__(
        self,
        source: str,
        check: Callable[[MessageKind, str, str, Any], None] = lambda *_: None,
    ) -> None:
        self._source = source
        self._check = check

    def compose(
        self,
        kind: MessageKind,
        message_type: str,
        data: Any,
        *,
        target: str = "",
        priority: MessagePriority | str,
        expires_in: float | None = None,
        delay: float | None = None,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        reply_to: str | None = None,
        dedup_key: str | None = None,
        ordering_key: str | None = None,
        under_custody: bool = False,
    ) -> Envelope:
        """Return a new envelope. Inside a handler it continues the handled message's conversation.

        Args:
            kind: command, event or request.
            message_type: words joined by dots.
            data: the payload; None becomes an empty object.
            target: the service it is for; empty for events.
            priority: a `MessagePriority` or its name.
            expires_in: seconds, counted from when it is sent.
            delay: seconds before it is sent.
            correlation_id: of the conversation; None: the handled message's, or its own id.
            headers: free for the application.
            reply_to: queue for the answer.
            dedup_key: the same key of the same source is the same message.
            ordering_key: one at a time and in order with others of the same key.
            under_custody: whether the receiver shall tell its outcome.

        Raises:
            ValueError: a name, key, priority or duration is not valid.
            EncodeError: the check refuses it.
        """
        _check(kind, message_type, target, delay=delay, expires_in=expires_in)
        if ordering_key is not None:
            _check_ordering(ordering_key, message_type, delay)
        self._check(kind, message_type, target, data)
        message_id = new_message_id()
        if dedup_key is not None:
            message_id = id_of(self._source, dedup_key)
        # When it is sent: what is said long before must not look older than what receivers still
        # remember of duplicates.
        created_at = utc_now() + timedelta(seconds=delay or 0.0)
        cause = current_message()
        return Envelope(
            id=message_id,
            type=message_type,
            kind=kind,
            source=self._source,
            target=target,
            priority=MessagePriority(priority),
            data={} if data is None else data,
            created_at=created_at,
            expires_at=expiry(created_at, expires_in),
            correlation_id=correlation_id or (cause.correlation_id if cause else message_id),
            causation_id=cause.id if cause else None,
            reply_to=reply_to,
            ordering_key=ordering_key,
            traceparent=current_trace(),
            headers=read_only(headers) if headers else NO_HEADERS,
            custodian=self._source if under_custody else None,
        )


def id_of(source: str, dedup_key: str) -> str:
    """Return the id of the message that a service sends under a dedup key."""
    return str(uuid.uuid5(_DEDUP_NAMESPACE, f"{source}/{dedup_key}"))


def seconds_until(send_at: datetime | None, delay: float | None) -> float | None:
    """Return the delay of what is sent at an instant, or else the one given.

    Raises:
        ValueError: both, or an instant without an offset from UTC.
    """
    if send_at is None:
        return delay
    if delay is not None:
        raise ValueError("either delay or send_at, not both")
    if not isinstance(send_at, datetime) or send_at.tzinfo is None:
        raise ValueError(f"send_at is not a datetime with an offset from UTC: {send_at!r:.100}")
    return max(0.0, (send_at - utc_now()).total_seconds())


def seconds_left(wanted: float) -> float:
    """Return how long to wait for an answer: no longer than whoever waits for ours."""
    cause = current_message()
    if cause is None or cause.kind is not MessageKind.REQUEST or cause.expires_at is None:
        return wanted
    return min(wanted, (cause.expires_at - utc_now()).total_seconds())


def _check_ordering(ordering_key: str, message_type: str, delay: float | None) -> None:
    if not is_ordering_key(ordering_key):
        raise ValueError(f"not an ordering key (text of 1 to 200 characters): {ordering_key!r}")
    if delay:
        raise ValueError(
            f"{message_type!r}: with a delay it would hold up all behind it of its ordering key"
        )


def _check(kind: MessageKind, message_type: str, target: str, **durations: float | None) -> None:
    if not is_message_type(message_type):
        raise ValueError(f"not a message type (words joined by dots): {message_type!r}")
    if kind is not MessageKind.EVENT and not is_service_name(target):
        raise ValueError(f"not a service name (letters, digits, - and _): {target!r}")
    for name, seconds in durations.items():
        if seconds is not None and not 0 <= seconds <= MAX_SECONDS:
            raise ValueError(f"{name} is not a number of seconds from 0: {seconds!r}")
