"""Reading each field of an envelope from JSON, and refusing what it must not be.

A reader is given the name and the parsed object; it raises KeyError for a field that is missing,
TypeError or ValueError for one of the wrong kind.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from messaging.envelope import (
    LARGEST_COUNT,
    NO_HEADERS,
    MessageKind,
    MessagePriority,
    is_message_type,
    is_service_name,
    is_storable_id,
)

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


def _optional_ordering_key(name: str, mapping: dict[str, Any]) -> str | None:
    return None if mapping.get(name) is None else _identifier(name, mapping)


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
REQUIRED: Final = frozenset({"id", "type", "kind", "source", "created_at", "correlation_id"})

#: One reader for each field, in the order in which the first fault is reported.
READERS: Final[dict[str, _Reader]] = {
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
    "ordering_key": _optional_ordering_key,
    "traceparent": _optional_text,
    "headers": _headers,
    "version": lambda name, mapping: mapping[name],
    "signature": _optional_text,
}
