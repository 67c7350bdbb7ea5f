"""Which service has which HTTP route: first come, first served."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway_app.models import Route, Service
from gateway_app.registry import revisions
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
class Claims:
    """What became of the routes that a service offers."""

    #: Not well-formed, or another service's.
    refused: tuple[RefusedRoute, ...]
    #: Whether the service has other routes now than before.
    is_changed: bool


@dataclass(frozen=True, slots=True)
class _Leads:
    """What a route leads to."""

    #: Message type; empty: requests are proxied.
    message: str
    #: JSON text.
    options_json: str


def claim_routes(service: Service, offered: Iterable[Any]) -> Claims:
    """Give a service the routes it offers, and take away those it offers no more.

    Call it in a transaction that has locked the service. Services that claim routes at the same
    time take turns.

    Args:
        service: who offers them.
        offered: routes as `messaging.Route.to_json` writes them.
    """
    refused: list[RefusedRoute] = []
    granted: dict[tuple[str, str], _Leads] = {}
    offers = list(_read(offered, refused))
    if offers:
        # The database knows that two paths are the same, not that they match the same.
        revisions.lock()
    taken = _taken(except_for=service)
    for method, path, leads in offers:
        owner = taken.get((method, shape(path)))
        if owner is not None:
            refused.append(RefusedRoute(method, path, f"it is a route of {owner} already"))
        elif (method, path) in granted:
            refused.append(RefusedRoute(method, path, "it is offered twice"))
        else:
            granted[method, path] = leads
    return Claims(tuple(refused), _store(service, granted))


def shape(path: str) -> str:
    """Return a path without the names of its parameters: paths of one shape match the same."""
    return _PARAMETER.sub("{}", path)


def _taken(except_for: Service) -> dict[tuple[str, str], str]:
    rows = Route.objects.exclude(service=except_for).values_list("method", "path", "service__name")
    return {(method, shape(path)): owner for method, path, owner in rows}


def _store(service: Service, granted: Mapping[tuple[str, str], _Leads]) -> bool:
    """Make these routes, and no others, those of the service; return whether any changed."""
    missing = dict(granted)
    is_changed = False
    for route in service.routes.all():
        leads = missing.pop((route.method, route.path), None)
        if leads is None:
            route.delete()
        elif (route.message, route.options_json) != (leads.message, leads.options_json):
            route.message, route.options_json = leads.message, leads.options_json
            route.save(update_fields=["message", "options_json"])
        else:
            continue
        is_changed = True
    Route.objects.bulk_create(
        Route(
            service=service,
            method=method,
            path=path,
            message=leads.message,
            options_json=leads.options_json,
        )
        for (method, path), leads in missing.items()
    )
    return is_changed or bool(missing)


def _read(
    offered: Iterable[Any], refused: list[RefusedRoute]
) -> Iterator[tuple[str, str, _Leads]]:
    """Yield method, path and target of each well-formed route; add the others to `refused`."""
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
                yield method, str(path), _Leads(str(message), options_json)


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
