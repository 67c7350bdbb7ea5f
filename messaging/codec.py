"""Envelope to JSON and back: the one place that knows how an envelope looks on the wire.

On the wire a message is a plain Celery protocol-2 task: a JSON array of positional arguments
(the envelope alone), keyword arguments (none) and Celery's own options (none), so that any
Celery client in any language can take part.
Source: https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from messaging.envelope import (
    ENVELOPE_VERSION,
    LARGEST_COUNT,
    NO_HEADERS,
    Envelope,
    MessageKind,
    MessagePriority,
    is_message_type,
    is_service_name,
    is_storable_id,
)
from messaging.errors import DecodeError, EncodeError, MessageTooLarge

#: Name of the Celery task that every message is.
TASK_NAME: Final = "messaging.deliver"
CONTENT_TYPE: Final = "application/json"
CONTENT_ENCODING: Final = "utf-8"

#: Celery's own options of protocol 2; none of them is used.
_EMBED: Final = '{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}'


def _plain(value: object) -> Any:
    """Return the JSON form of the value types that Django code passes around."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


_dumps: Final[Callable[[Any], str]] = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
).encode


def to_mapping(envelope: Envelope) -> dict[str, Any]:
    """Return the envelope as it is written to JSON: empty fields left out, instants as text."""
    mapping: dict[str, Any] = {
        "id": envelope.id,
        "type": envelope.type,
        "kind": envelope.kind,
        "source": envelope.source,
        "target": envelope.target,
        "priority": envelope.priority,
        "data": envelope.data,
        "created_at": envelope.created_at.isoformat(),
        "correlation_id": envelope.correlation_id,
        "attempt": envelope.attempt,
        "generation": envelope.generation,
        "version": envelope.version,
    }
    if envelope.expires_at is not None:
        mapping["expires_at"] = envelope.expires_at.isoformat()
    for name in ("causation_id", "reply_to", "custodian", "traceparent", "signature"):
        value = getattr(envelope, name)
        if value is not None:
            mapping[name] = value
    if envelope.headers:
        mapping["headers"] = dict(envelope.headers)
    return mapping


def encode(envelope: Envelope, max_bytes: int | None) -> str:
    """Return the body of the Celery task that carries this envelope.

    Dates, times, UUIDs, Decimals, enums and sets in ``data`` become their JSON forms.

    Args:
        envelope: what to write.
        max_bytes: limit of the UTF-8 text; None for no limit.

    Raises:
        EncodeError: ``data`` or ``headers`` hold something JSON has no form for, NaN included.
        MessageTooLarge: over the limit.
    """
    try:
        body = f"[[{_dumps(to_mapping(envelope))}],{_EMBED}]"
        check_size(body, max_bytes)
    except (TypeError, ValueError, RecursionError) as exc:
        raise EncodeError(f"message {envelope.type!r} cannot be written as JSON: {exc}") from exc
    return body


def check_size(body: str, max_bytes: int | None) -> None:
    """Raise MessageTooLarge if the UTF-8 text of a body is over the limit."""
    size = len(body) if body.isascii() else len(body.encode())
    if max_bytes is not None and size > max_bytes:
        raise MessageTooLarge(size, max_bytes)


def decode(body: str | bytes) -> Envelope:
    """Return the envelope that a Celery task body carries.

    Raises:
        DecodeError: not JSON, not a task of this protocol, or not an envelope.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise DecodeError(f"not JSON: {exc}") from exc
    half_a_pair = "\\ud" if isinstance(body, str) else b"\\ud"
    if half_a_pair in body:  # type: ignore[operator] # text in text, or bytes in bytes
        _require_text(parsed)
    return from_arguments(parsed)


def _require_text(parsed: object) -> None:
    """Refuse halves of surrogate pairs: no file and no database can hold them."""
    try:
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise DecodeError(f"not text: {exc}") from exc


def from_arguments(parsed: object) -> Envelope:
    """Return the envelope in a parsed protocol-2 body, ``[args, kwargs, options]``.

    Raises:
        DecodeError: of another shape, or not an envelope.
    """
    match parsed:
        case [[envelope], {}, *_]:
            return from_mapping(envelope)
    raise DecodeError("not a task with an envelope as its only argument")


def from_mapping(mapping: object) -> Envelope:
    """Return the envelope a parsed JSON object stands for. Unknown fields are ignored.

    Raises:
        DecodeError: a field is missing or of the wrong kind, or the version is unknown.
    """
    if not isinstance(mapping, dict):
        raise DecodeError(f"an envelope is an object, got {type(mapping).__name__}")
    # The version first: under another one the other fields may mean something else.
    version = mapping.get("version")
    if version != ENVELOPE_VERSION or isinstance(version, bool):
        raise DecodeError(
            f"unknown envelope version {version!r}; this service reads {ENVELOPE_VERSION}"
        )
    try:
        return Envelope(
            **{
                name: read(name, mapping)
                for name, read in _READERS.items()
                if name in mapping or name in _REQUIRED
            }
        )
    except (KeyError, TypeError, ValueError) as exc:
        reason = f"{exc.args[0]!r} is missing" if isinstance(exc, KeyError) else str(exc)
        raise DecodeError(f"not an envelope: {reason}") from exc


_Reader = Callable[[str, dict[str, Any]], Any]


def _text(name: str, mapping: dict[str, Any]) -> str:
    value = mapping[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name!r} is not text")
    return value


def _identifier(name: str, mapping: dict[str, Any]) -> str:
    value = _text(name, mapping)
    if not is_storable_id(value):
        raise ValueError(f"{name!r} is too long or holds what cannot be stored")
    return value


def _optional_text(name: str, mapping: dict[str, Any]) -> str | None:
    return None if mapping.get(name) is None else _text(name, mapping)


def _message_type(name: str, mapping: dict[str, Any]) -> str:
    value = mapping[name]
    if not is_message_type(value):
        raise ValueError(f"{name!r} is not a message type: {value!r:.80}")
    return str(value)


def _service(name: str, mapping: dict[str, Any]) -> str:
    value = mapping[name]
    if not is_service_name(value):
        raise ValueError(f"{name!r} is not a service name: {value!r:.80}")
    return str(value)


def _optional_service(name: str, mapping: dict[str, Any]) -> str | None:
    return None if mapping.get(name) is None else _service(name, mapping)


def _target(name: str, mapping: dict[str, Any]) -> str:
    return _service(name, mapping) if mapping.get(name) else ""


def _instant(name: str, mapping: dict[str, Any]) -> datetime:
    moment = datetime.fromisoformat(mapping[name])
    if moment.tzinfo is None:
        raise ValueError(f"{name!r} names no offset from UTC")
    return moment


def _optional_instant(name: str, mapping: dict[str, Any]) -> datetime | None:
    return None if mapping.get(name) is None else _instant(name, mapping)


def _count(name: str, mapping: dict[str, Any]) -> int:
    least = 1 if name == "attempt" else 0
    value = mapping[name]
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not least <= value <= LARGEST_COUNT
    ):
        raise ValueError(f"{name!r} is not a whole number from {least} to {LARGEST_COUNT}")
    return value


def _headers(name: str, mapping: dict[str, Any]) -> Mapping[str, Any]:
    value = mapping.get(name)
    if not value:
        return NO_HEADERS
    if not isinstance(value, dict):
        raise TypeError(f"{name!r} is not an object")
    return MappingProxyType(value)


def _kind(name: str, mapping: dict[str, Any]) -> MessageKind:
    try:
        return _KINDS[mapping[name]]  # ten times as fast as the enum's own look-up
    except KeyError:
        return MessageKind(mapping[name])  # says what is wrong


def _priority(name: str, mapping: dict[str, Any]) -> MessagePriority:
    try:
        return _PRIORITIES[mapping[name]]
    except KeyError:
        return MessagePriority(mapping[name])


_KINDS: Final[dict[str, MessageKind]] = {kind.value: kind for kind in MessageKind}
_PRIORITIES: Final[dict[str, MessagePriority]] = {each.value: each for each in MessagePriority}

#: Fields without which there is no envelope; others have defaults.
_REQUIRED: Final = frozenset({"id", "type", "kind", "source", "created_at", "correlation_id"})

#: One reader for each field, in the order in which the first fault is reported.
_READERS: Final[dict[str, _Reader]] = {
    "id": _identifier,
    "type": _message_type,
    "kind": _kind,
    "source": _service,
    "target": _target,
    "priority": _priority,
    "data": lambda name, mapping: mapping[name],
    "created_at": _instant,
    "expires_at": _optional_instant,
    "correlation_id": _text,
    "causation_id": _optional_text,
    "reply_to": _optional_text,
    "attempt": _count,
    "custodian": _optional_service,
    "generation": _count,
    "traceparent": _optional_text,
    "headers": _headers,
    "version": lambda name, mapping: mapping[name],
    "signature": _optional_text,
}
