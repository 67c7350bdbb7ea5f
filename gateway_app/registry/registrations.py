"""What services say of themselves, checked field by field: registrations and heartbeats."""

import ipaddress
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from messaging import Reject
from messaging.contracts.contract import schemas_of, sent_messages
from messaging.envelope import is_message_type, is_service_name
from messaging.health_checks import MAX_CHECKS
from messaging.patterns import is_literal, is_pattern
from messaging.recurrence import MOST_OF_ONE_SERVICE, Recurrence
from messaging.text import storable

logger = logging.getLogger(__name__)

#: Of what a check is called and says; more would not fit on a page.
MAX_CHECK_NAME: Final = 100
MAX_CHECK_TEXT: Final = 200
#: Underscores too: names that containers have among themselves.
_HOST_NAME: Final = re.compile(r"(?=.{1,253}\.?\Z)[a-zA-Z0-9_-]{1,63}(\.[a-zA-Z0-9_-]{1,63})*\.?")
_ADDRESS: Final = re.compile(r"[0-9a-fA-F:.]+(%[a-zA-Z0-9._-]+)?")


class InvalidRegistration(Reject):
    """The data is no registration; sending it again changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """One instance of one service, and where it is."""

    name: str
    instance_id: str
    version: str
    host: str
    port: int | None
    health_endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(Whereabouts):
    """One instance of one service, and what it offers."""

    #: JSON text of an object, free for the application; empty where it says nothing.
    metadata_json: str
    #: As they came: each is taken or refused by itself.
    routes: tuple[Any, ...]
    #: JSON Schema as JSON text by message type; empty where the type has none.
    handles: Mapping[str, str]
    subscriptions: frozenset[str]
    #: JSON text of what its contract says besides: JSON Schemas of what handlers of patterns take
    #: (``schemas``) and of what any answer (``answers``), and what it ``sends``; empty where it
    #: says nothing of that.
    contract_json: str
    #: What it wants sent again and again.
    recurring: tuple[Recurrence, ...] = ()

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return the registration that the data of a message describes.

        Raises:
            InvalidRegistration: a field is missing or wrong.
        """
        return cls(
            **_whereabouts(data),
            metadata_json=_json("metadata", _object(data, "metadata")),
            routes=tuple(_list(data, "routes")),
            handles=_handles(data),
            subscriptions=_names(data, "subscriptions", is_pattern),
            contract_json=_contract(data),
            recurring=_recurring(data),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Whereabouts):
    """What an instance says every few seconds."""

    #: JSON text of what it has in hand; empty where it does not say.
    load_json: str
    #: JSON text of what its own checks say, by name; empty where it has none. The same text for
    #: the same results.
    checks_json: str

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return the heartbeat that the data of a message describes.

        Raises:
            InvalidRegistration: a field is missing or wrong.
        """
        return cls(
            **_whereabouts(data),
            load_json=_json("load", _object(data, "load")),
            checks_json=_json("checks", _checks(data)),
        )


def identify(data: Any) -> tuple[str, str]:
    """Return service name and instance id, which every message about an instance carries.

    Raises:
        InvalidRegistration: one of them is missing or wrong.
    """
    if not isinstance(data, Mapping):
        raise _wrong("data", "an object", data)
    name = data.get("name")
    if not is_service_name(name):
        raise _wrong("name", "a service name", name)
    instance_id = _text(data, "id", 100)
    if not instance_id:
        raise _wrong("id", "the id of the instance", data.get("id"))
    return str(name), instance_id


def _whereabouts(data: Any) -> dict[str, Any]:
    name, instance_id = identify(data)
    return {
        "name": name,
        "instance_id": instance_id,
        "version": _text(data, "version", 100),
        "host": _host(data),
        "port": _port(data),
        "health_endpoint": _text(data, "healthEndpoint", 500),
    }


def _text(data: Mapping[str, Any], key: str, longest: int) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise _wrong(key, f"text of at most {longest} printable characters", value)
    return value


def _host(data: Mapping[str, Any]) -> str:
    """Return where an instance is; where it has a port, something to connect to."""
    host = _text(data, "host", 255)
    if data.get("port") is None:
        return host
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if _is_address(bare) and (bare is host or ":" in bare):
        return bare
    if not _HOST_NAME.fullmatch(host):
        raise _wrong("host", "an ASCII host name or an IP address, as there is a port", host)
    return host


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return bool(_ADDRESS.fullmatch(text))


def _port(data: Mapping[str, Any]) -> int | None:
    value = data.get("port")
    if value is None:
        return None
    if type(value) is not int or not 0 < value < 65_536:
        raise _wrong("port", "a TCP port", value)
    return value


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(key, "a list", value)
    return value


def _object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong(key, "an object", value)
    return value


def _names(
    data: Mapping[str, Any], key: str, is_valid: Callable[[object], bool]
) -> frozenset[str]:
    names = _list(data, key)
    for name in names:
        if not is_valid(name):
            raise _wrong(key, "message types, words joined by dots", name)
    return frozenset(names)


def _handles(data: Mapping[str, Any]) -> dict[str, str]:
    schemas = _object(data, "schemas")
    for message_type, schema in schemas.items():
        # Of a pattern too: whoever answers several types with one handler may have one for it.
        if not is_pattern(message_type):
            raise _wrong("schemas", "message types", message_type)
        if not isinstance(schema, Mapping):
            raise _wrong(f"schemas of {message_type}", "a JSON Schema object", schema)
    return {
        message_type: _json("schemas", schemas.get(message_type, {}))
        for message_type in sorted(_names(data, "handles", is_message_type))
    }


def _contract(data: Mapping[str, Any]) -> str:
    try:
        schemas = schemas_of(_object(data, "schemas"), "schemas")
        answers = schemas_of(_object(data, "answers"), "answers")
        sends = sent_messages(_list(data, "sends"))
    except ValueError as exc:
        raise InvalidRegistration(str(exc)) from exc
    said = {
        "schemas": {name: each for name, each in schemas.items() if not is_literal(name)},
        "answers": answers,
        "sends": [sent.to_json() for sent in sends],
    }
    return _json("contract", {word: each for word, each in sorted(said.items()) if each})


def _recurring(data: Mapping[str, Any]) -> tuple[Recurrence, ...]:
    """Return what can be sent; a service is not refused for a time zone that is not known here."""
    found: dict[str, Recurrence] = {}
    for said in _list(data, "recurring")[:MOST_OF_ONE_SERVICE]:
        try:
            recurrence = Recurrence.from_json(said)
        except ValueError as exc:
            logger.warning("%s: what recurs is left out: %s", data.get("name"), exc)
        else:
            found[recurrence.name] = recurrence
    return tuple(found.values())


def _checks(data: Mapping[str, Any]) -> dict[str, Any]:
    checks = _object(data, "checks")
    if len(checks) > MAX_CHECKS:
        raise _wrong("checks", f"at most {MAX_CHECKS}", len(checks))
    read: dict[str, Any] = {}
    for name, check in sorted(checks.items()):
        if not isinstance(check, Mapping) or not isinstance(check.get("ok"), bool):
            raise _wrong(f"check {name:.100}", '{"ok": true or false, "text": …}', check)
        text = check.get("text") or ""
        if not isinstance(text, str):
            raise _wrong(f"check {name:.100}", "a text", text)
        name = storable(name)[:MAX_CHECK_NAME]
        read[name] = {"ok": check["ok"], "text": storable(text)[:MAX_CHECK_TEXT]}
    return read


def _json(key: str, value: Mapping[str, Any]) -> str:
    """Return JSON text; empty where there is nothing in it."""
    if not value:
        return ""
    try:
        # Plain ASCII: what UTF-8 or PostgreSQL cannot hold is written as an escape.
        return json.dumps(value, allow_nan=False)
    except ValueError as exc:
        raise _wrong(key, "numbers that are finite", value) from exc


def _wrong(key: str, expected: str, got: object) -> InvalidRegistration:
    return InvalidRegistration(f"{key}: expected {expected}, got {got!r:.100}")
