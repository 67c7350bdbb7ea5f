"""What one registration offers, read and checked: routes, handled types, subscriptions."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from gateway_app.registry.registrations import Registration
from messaging import ConfigurationError
from messaging.envelope import is_message_type
from messaging.routes import OPTIONS
from messaging.routes import Route as RouteOffer
from messaging.text import storable

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: Everything else of the gateway's URLs is its own.
PUBLIC_PREFIX: Final = "/api/"
#: What the gateway itself answers below it.
OWN_PATHS: Final = frozenset({"/api/openapi.json"})
MAX_PATH: Final = 500
_PARAMETER: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_LITERAL: Final = re.compile(r"[^{}?#%\s\x00-\x1f]+")

#: Method and shape of a route: what it matches.
Match = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RefusedRoute:
    """A route that a service does not get, and why."""

    method: str
    path: str
    #: Text for people.
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return it as it stands in ``service.registered``."""
        return {"method": self.method, "path": self.path, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Leads:
    """What a route leads to."""

    path: str
    #: Message type; empty: requests are proxied.
    message: str
    #: JSON text.
    options_json: str


@dataclass(frozen=True, slots=True)
class Offers:
    """What an instance offers, and nothing that is not well-formed."""

    routes: Mapping[Match, Leads]
    #: JSON Schema as JSON text by message type; empty where the type has none.
    handles: Mapping[str, str]
    subscriptions: frozenset[str]
    #: As `Registration.contract_json`.
    contract_json: str = ""

    @classmethod
    def of(cls, registration: Registration) -> tuple[Self, tuple[RefusedRoute, ...]]:
        """Return what a registration offers, and the routes in it that are none or come twice."""
        refused: list[RefusedRoute] = []
        routes: dict[Match, Leads] = {}
        for method, leads in _read(registration.routes, refused):
            match = method, shape(leads.path)
            if match in routes:
                refused.append(RefusedRoute(method, leads.path, "it is offered twice"))
            else:
                routes[match] = leads
        offers = cls(
            routes, registration.handles, registration.subscriptions, registration.contract_json
        )
        return offers, tuple(refused)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return what `to_text` wrote."""
        data = json.loads(text)
        routes = {(method, shape(leads[0])): Leads(*leads) for method, *leads in data["routes"]}
        subscriptions = frozenset(data["subscriptions"])
        return cls(routes, data["handles"], subscriptions, data["contract"])

    def to_text(self) -> str:
        """Return it as JSON text; the same text for the same offers."""
        routes = sorted(
            [method, leads.path, leads.message, leads.options_json]
            for (method, _), leads in self.routes.items()
        )
        return json.dumps(
            {
                "routes": routes,
                "handles": dict(sorted(self.handles.items())),
                "subscriptions": sorted(self.subscriptions),
                "contract": self.contract_json,
            }
        )

    @classmethod
    def union(cls, each: Iterable[Self]) -> Self:
        """Return everything that any of them offers; for the same thing the last one decides.

        Contracts are not united: each version has its own, see `contracts.running`.
        """
        routes: dict[Match, Leads] = {}
        handles: dict[str, str] = {}
        subscriptions: frozenset[str] = frozenset()
        for offers in each:
            routes |= offers.routes
            handles |= offers.handles
            subscriptions |= offers.subscriptions
        return cls(routes, handles, subscriptions)


def digest_of(text: str) -> str:
    """Return what an `OfferedSet` is found by."""
    return hashlib.sha256(text.encode()).hexdigest()


def shape(path: str) -> str:
    """Return a path without the names of its parameters: paths of one shape match the same."""
    return _PARAMETER.sub("{}", path)


def _read(offered: Iterable[Any], refused: list[RefusedRoute]) -> Iterator[tuple[str, Leads]]:
    """Yield method and target of each well-formed route; add the others to `refused`."""
    for route in offered:
        if not isinstance(route, Mapping) or not isinstance(route.get("methods"), list | None):
            refused.append(RefusedRoute("", f"{route!r:.100}", "it is no route"))
            continue
        path, message = route.get("path"), route.get("message") or ""
        options = {name: route[name] for name in OPTIONS if route.get(name) is not None}
        for method in route.get("methods") or ["GET"]:
            fault = _fault(method, path, message) or _option_fault(str(path), options)
            if fault:
                shown = storable(f"{path!s:.500}")
                refused.append(RefusedRoute(storable(f"{method!s:.20}"), shown, fault))
            else:
                options_json = json.dumps(options, sort_keys=True) if options else ""
                yield method, Leads(str(path), str(message), options_json)


def _fault(method: Any, path: Any, message: Any) -> str:
    """Return what is wrong with a route; empty if nothing is."""
    if method not in METHODS:
        return f"the method is not one of {', '.join(METHODS)}"
    if not isinstance(path, str) or len(path) > MAX_PATH or not path.startswith(PUBLIC_PREFIX):
        return f"the path does not begin with {PUBLIC_PREFIX}"
    if path in OWN_PATHS:
        return "the gateway answers it itself"
    segments = path.split("/")[1:]
    if not path.isprintable() or not all(map(_is_segment, segments)):
        return "a segment of the path is neither plain text nor {name}"
    parameters = [text for text in segments if _PARAMETER.fullmatch(text)]
    if len(parameters) != len(set(parameters)):
        return "two parameters have the same name"
    if message and not is_message_type(message):
        return f"{message!r:.100} is not a message type"
    return ""


def _is_segment(text: str) -> bool:
    return bool(_LITERAL.fullmatch(text) or _PARAMETER.fullmatch(text))


def _option_fault(path: str, options: Mapping[str, Any]) -> str:
    """Return what is wrong with the options of a route; empty if nothing is."""
    try:
        RouteOffer(path=path, **options)
    except (ConfigurationError, OverflowError) as exc:
        return storable(f"{exc!s:.300}")
    return ""
