"""What a ``service.register`` message says, checked field by field."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from messaging import Reject
from messaging.envelope import is_message_type, is_service_name
from messaging.patterns import is_pattern


class InvalidRegistration(Reject):
    """The data is no registration; sending it again changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One instance of one service, and what the service offers."""

    name: str
    instance_id: str
    version: str
    host: str
    port: int | None
    health_endpoint: str
    #: As they came: each is taken or refused by itself.
    routes: tuple[Any, ...]
    handles: frozenset[str]
    subscriptions: frozenset[str]

    @classmethod
    def from_json(cls, data: Any) -> "Registration":
        """Return the registration that the data of a message describes.

        Raises:
            InvalidRegistration: a field is missing or wrong.
        """
        name, instance_id = identify(data)
        return cls(
            name=name,
            instance_id=instance_id,
            version=_text(data, "version", 100),
            host=_text(data, "host", 255),
            port=_port(data),
            health_endpoint=_text(data, "healthEndpoint", 500),
            routes=tuple(_list(data, "routes")),
            handles=_names(data, "handles", is_message_type),
            subscriptions=_names(data, "subscriptions", is_pattern),
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


def _text(data: Mapping[str, Any], key: str, longest: int) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise _wrong(key, f"text of at most {longest} printable characters", value)
    return value


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


def _names(
    data: Mapping[str, Any], key: str, is_valid: Callable[[object], bool]
) -> frozenset[str]:
    names = _list(data, key)
    for name in names:
        if not is_valid(name):
            raise _wrong(key, "message types, words joined by dots", name)
    return frozenset(names)


def _wrong(key: str, expected: str, got: object) -> InvalidRegistration:
    return InvalidRegistration(f"{key}: expected {expected}, got {got!r:.100}")
