"""HTTP routes of the gateway, as the services that answer them register them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from messaging.envelope import MessagePriority, is_message_type
from messaging.errors import ConfigurationError

#: Who may call a route: who has an API token for it, or anybody.
AUTH: Final = ("token", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An HTTP route of the gateway that a service answers.

    Attributes:
        path: below ``/api/``, such as ``/api/scraper/free-zones``; ``{name}`` takes one segment.
        methods: HTTP methods.
        message: the type of the request sent to the service; empty: HTTP requests are passed on to
            the HTTP servers of the service's instances.
        priority: of that request, a `MessagePriority` or its name; None: the gateway's choice.
        timeout: seconds the service may take; None: the gateway's setting.
        rate: requests a second of one client, 0: as many as it likes; None: the gateway's setting.
        concurrency: requests in hand at one time in one process of the gateway; None: no limit of
            its own.
        max_body_bytes: largest body of a request; None: the gateway's setting.
        auth: ``"token"``: callers need an API token whose scopes cover the route; ``"none"``:
            anybody may call it, on purpose; None: the gateway's setting.

    Raises:
        ConfigurationError: one of them is something else.
    """

    path: str
    methods: tuple[str, ...] = ("GET",)
    message: str = ""
    priority: MessagePriority | str | None = None
    timeout: float | None = None
    rate: float | None = None
    concurrency: int | None = None
    max_body_bytes: int | None = None
    auth: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path.startswith("/"):
            raise self._wrong("path", "a path that starts with /")
        if not isinstance(self.methods, tuple) or not self.methods:
            raise self._wrong("methods", "a tuple of HTTP methods")
        if self.message != "" and not is_message_type(self.message):
            raise self._wrong("message", "a message type or nothing")
        if self.priority is not None:
            # One of the two at once: whoever gets it need not tell them apart.
            object.__setattr__(self, "priority", self._named_priority(self.priority))
        if self.timeout is not None and not (_is_number(self.timeout) and self.timeout > 0):
            raise self._wrong("timeout", "seconds, more than 0")
        if self.rate is not None and not (_is_number(self.rate) and self.rate >= 0):
            raise self._wrong("rate", "requests a second, 0 or more")
        for name in ("concurrency", "max_body_bytes"):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and value > 0):
                raise self._wrong(name, "a whole number from 1")
        if self.auth is not None and self.auth not in AUTH:
            raise self._wrong("auth", f"one of {', '.join(AUTH)}")

    @classmethod
    def of(cls, route: "Route | Mapping[str, Any]") -> "Route":
        """Return a route given as a `Route` or as a dict with the same keys.

        Raises:
            ConfigurationError: as from the class; also an unknown or missing key.
        """
        if isinstance(route, Route):
            return route
        if not isinstance(route, Mapping):
            raise ConfigurationError(f"routes: expected a Route or a dict, got {route!r}")
        values = dict(route)
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigurationError(f"route: expected keys out of {known}, got {key!r}")
        if "path" not in values:
            raise ConfigurationError(f"route: expected a path, got {route!r}")
        if isinstance(values.get("methods"), list):
            values["methods"] = tuple(values["methods"])
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the route as it is registered: of its options, those that were given."""
        given = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        return {
            "path": self.path,
            "methods": list(self.methods),
            "message": self.message,
            **given,
        }

    def _named_priority(self, priority: str) -> MessagePriority:
        try:
            return MessagePriority(priority)
        except ValueError as exc:
            names = ", ".join(MessagePriority)
            raise self._wrong("priority", f"one of {names}") from exc

    def _wrong(self, name: str, expected: str) -> ConfigurationError:
        got = getattr(self, name)
        return ConfigurationError(f"route {self.path!r}: {name}: expected {expected}, got {got!r}")


#: What a route may say beyond path, methods and message.
OPTIONS: Final = ("priority", "timeout", "rate", "concurrency", "max_body_bytes", "auth")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
