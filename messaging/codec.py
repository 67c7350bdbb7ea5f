"""Envelope to JSON and back: the one place that knows how an envelope looks on the wire.

On the wire a message is a plain Celery protocol-2 task: a JSON array of positional arguments
(the envelope alone), keyword arguments (none) and Celery's own options (none), so that any
Celery client in any language can take part.
Source: https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from messaging.envelope import (
    ENVELOPE_VERSION,
    Envelope,
)
from messaging.envelope_fields import READERS, REQUIRED
from messaging.errors import DecodeError, EncodeError, MessageTooLarge
from messaging.signing import MESSAGE, NO_KEYS, Keyring

#: Name of the Celery task that every message is.
TASK_NAME: Final = "messaging.deliver"
CONTENT_TYPE: Final = "application/json"
CONTENT_ENCODING: Final = "utf-8"

#: Levels of objects and lists in a body, two of them Celery's and one the envelope's. Python's
#: recursion ends at a thousand, some of which are in use wherever a message is written again.
MAX_NESTING: Final = 100

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


#: Text fields that are left out where they are empty.
_OPTIONAL: Final = (
    *("causation_id", "reply_to", "custodian", "ordering_key", "traceparent", "signature"),
)


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
    for name in _OPTIONAL:
        value = getattr(envelope, name)
        if value is not None:
            mapping[name] = value
    if envelope.headers:
        mapping["headers"] = dict(envelope.headers)
    return mapping


def encode(envelope: Envelope, max_bytes: int | None, keyring: Keyring = NO_KEYS) -> str:
    """Return the body of the Celery task that carries this envelope.

    Dates, times, UUIDs, Decimals, enums and sets in ``data`` become their JSON forms.

    Args:
        envelope: what to write.
        max_bytes: limit of the UTF-8 text; None for no limit.
        keyring: signs it, if it has keys and the envelope no signature yet.

    Raises:
        EncodeError: ``data`` or ``headers`` hold something JSON has no form for, NaN included,
            or are nested too deep.
        MessageTooLarge: over the limit.
        ConfigurationError: no key may speak for who says it.
        BadSignature: who answers for it may not speak for who says it.
    """
    try:
        text = _dumps(to_mapping(envelope))
        if keyring.has_keys and envelope.signature is None:
            # Read back: keys that are no text, and instants, are text now, as receivers see them.
            speaker = keyring.speaker_of(envelope.source, envelope.custodian)
            signature = keyring.sign(MESSAGE, json.loads(text), speaker)
            text = f'{text[:-1]},"signature":"{signature}"}}'
        body = f"[[{text}],{_EMBED}]"
        check_size(body, max_bytes)
        _require_shallow(body, lambda: json.loads(body))
    except (TypeError, ValueError, RecursionError) as exc:
        raise EncodeError(f"message {envelope.type!r} cannot be written as JSON: {exc}") from exc
    return body


def check_size(body: str, max_bytes: int | None) -> None:
    """Raise MessageTooLarge if the UTF-8 text of a body is over the limit."""
    size = len(body) if body.isascii() else len(body.encode())
    if max_bytes is not None and size > max_bytes:
        raise MessageTooLarge(size, max_bytes)


def decode(body: str | bytes, keyring: Keyring = NO_KEYS) -> Envelope:
    """Return the envelope that a Celery task body carries.

    Args:
        body: as it came.
        keyring: its signature is checked, if this has keys.

    Raises:
        DecodeError: not JSON, not a task of this protocol, or not an envelope.
        BadSignature: nobody can tell who said it.
    """
    try:
        # `json.loads` would take UTF-16, and halves of surrogate pairs.
        text = body if isinstance(body, str) else body.decode()
        parsed = _parse(text)
        _require_shallow(text, lambda: parsed)
    except (ValueError, RecursionError) as exc:
        raise DecodeError(f"not JSON: {exc}") from exc
    if "\\ud" in text or "\\uD" in text:
        _require_text(parsed)
    return from_arguments(parsed, keyring)


def _require_shallow(text: str, parsed: Callable[[], Any]) -> None:
    """Refuse what is nested so deep that somebody's recursion ends, here or at a receiver.

    Raises:
        ValueError: it is.
    """
    if text.count("[") + text.count("{") <= MAX_NESTING:
        return  # as good as all messages
    level, depth = [parsed()], 0
    while level := [
        inner
        for outer in level
        for inner in (outer.values() if isinstance(outer, dict) else outer)
        if isinstance(inner, dict | list)
    ]:
        depth += 1
        if depth >= MAX_NESTING:
            raise ValueError(f"nested deeper than {MAX_NESTING} levels")


def _finite(number: str) -> float:
    found = float(number)
    if math.isinf(found):
        raise ValueError(f"{number:.20} is no number that can be kept")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


#: What it takes can be written again.
_parse: Final[Callable[[str], Any]] = json.JSONDecoder(
    parse_float=_finite, parse_constant=_no_constant
).decode


def _require_text(parsed: object) -> None:
    """Refuse halves of surrogate pairs: no file and no database can hold them."""
    try:
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise DecodeError(f"not text: {exc}") from exc


def from_arguments(parsed: object, keyring: Keyring = NO_KEYS) -> Envelope:
    """Return the envelope in a parsed protocol-2 body, ``[args, kwargs, options]``; see `decode`.

    Raises:
        DecodeError: of another shape, or not an envelope.
    """
    match parsed:
        case [[mapping], {}, *_]:
            envelope = from_mapping(mapping)
            if keyring.has_keys:
                assert isinstance(mapping, dict)
                keyring.check_message(envelope, mapping)
            return envelope
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
                for name, read in READERS.items()
                if name in mapping or name in REQUIRED
            }
        )
    except (KeyError, TypeError, ValueError) as exc:
        reason = f"{exc.args[0]!r} is missing" if isinstance(exc, KeyError) else str(exc)
        raise DecodeError(f"not an envelope: {reason}") from exc
