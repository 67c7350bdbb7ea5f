"""Which service has which HTTP route: first come, first served."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway_app.models import Route, Service
from messaging.envelope import is_message_type

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: Everything else of the gateway's URLs is its own.
PUBLIC_PREFIX: Final = "/api/"
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


def claim_routes(service: Service, offered: Iterable[Any]) -> list[RefusedRoute]:
    """Give a service the routes it offers, and take away those it offers no more.

    Call it in a transaction that has locked the service.

    Args:
        service: who offers them.
        offered: routes as `messaging.Route.to_json` writes them.

    Returns:
        The routes it did not get: not well-formed, or another service's.
    """
    refused: list[RefusedRoute] = []
    granted: dict[tuple[str, str], str] = {}
    taken = _taken(except_for=service)
    for method, path, message in _read(offered, refused):
        owner = taken.get((method, shape(path)))
        if owner is not None:
            refused.append(RefusedRoute(method, path, f"it is a route of {owner} already"))
        elif (method, path) in granted:
            refused.append(RefusedRoute(method, path, "it is offered twice"))
        else:
            granted[method, path] = message
    _store(service, granted)
    return refused


def shape(path: str) -> str:
    """Return a path without the names of its parameters: paths of one shape match the same."""
    return _PARAMETER.sub("{}", path)


def _taken(except_for: Service) -> dict[tuple[str, str], str]:
    rows = Route.objects.exclude(service=except_for).values_list("method", "path", "service__name")
    return {(method, shape(path)): owner for method, path, owner in rows}


def _store(service: Service, granted: dict[tuple[str, str], str]) -> None:
    for route in service.routes.all():
        message = granted.get((route.method, route.path))
        if message is None:
            route.delete()
            continue
        del granted[route.method, route.path]
        if route.message != message:
            route.message = message
            route.save(update_fields=["message"])
    Route.objects.bulk_create(
        Route(service=service, method=method, path=path, message=message)
        for (method, path), message in granted.items()
    )


def _read(offered: Iterable[Any], refused: list[RefusedRoute]) -> Iterator[tuple[str, str, str]]:
    """Yield method, path and message of each well-formed route; add the others to `refused`."""
    for route in offered:
        if not isinstance(route, Mapping) or not isinstance(route.get("methods"), list | None):
            refused.append(RefusedRoute("", f"{route!r:.100}", "it is no route"))
            continue
        path, message = route.get("path"), route.get("message") or ""
        for method in route.get("methods") or ["GET"]:
            fault = _fault(method, path, message)
            if fault:
                refused.append(RefusedRoute(f"{method!s:.20}", f"{path!s:.500}", fault))
            else:
                yield method, str(path), str(message)


def _fault(method: Any, path: Any, message: Any) -> str:
    """Return what is wrong with a route; empty if nothing is."""
    if method not in METHODS:
        return f"the method is not one of {', '.join(METHODS)}"
    if not isinstance(path, str) or len(path) > MAX_PATH or not path.startswith(PUBLIC_PREFIX):
        return f"the path does not begin with {PUBLIC_PREFIX}"
    segments = path.split("/")[1:]
    if not all(_LITERAL.fullmatch(text) or _PARAMETER.fullmatch(text) for text in segments):
        return "a segment of the path is neither plain text nor {name}"
    parameters = [text for text in segments if _PARAMETER.fullmatch(text)]
    if len(parameters) != len(set(parameters)):
        return "two parameters have the same name"
    if message and not is_message_type(message):
        return f"{message!r:.100} is not a message type"
    return ""
