"""Which requests are refused before anything is done for them."""

from functools import lru_cache
from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from starlette.requests import Request

from gateway_app.http import durable
from gateway_app.http.problem import RETRY_AFTER_SECONDS, Problem
from gateway_app.http.routing import ServiceEntry
from gateway_app.registry.wording import instant_text
from messaging.envelope import utc_now

#: More than any browser or library sends; the server itself has no bound.
MAX_HEADER_BYTES: Final = 65_536
#: What Django serves under DEBUG in a project that names no hosts, as `startproject` makes it.
_LOCAL_HOSTS: Final = (".localhost", "127.0.0.1", "[::1]")
#: Of several, another server might take another one.
_ONCE: Final = frozenset(
    name.encode() for name in ("host", "content-type", durable.PRIORITY_HEADER, durable.KEY_HEADER)
)


def check_request(request: Request) -> None:
    """Refuse hosts that are not ours, as Django does for its pages, and headers that mislead.

    Raises:
        Problem: 400, or 431 where they are too large.
    """
    _check_headers(request)
    if not _is_served(request.headers.get("host", ""), _allowed_hosts()):
        raise Problem(HTTPStatus.BAD_REQUEST, "this host is not served here")


def check_serves(entry: ServiceEntry) -> None:
    """Fail at once where nobody would answer.

    Raises:
        Problem: 503, with when to try again.
    """
    if entry.serves:
        return
    wait: float = RETRY_AFTER_SECONDS
    text = f"no instance of {entry.name} is up"
    until, now = entry.maintenance_until, utc_now()
    if until is not None and until > now:
        wait = max(1.0, (until - now).total_seconds())
        text = f"{entry.name} is in maintenance until {instant_text(until, now)}"
    raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, text, headers={"Retry-After": str(round(wait))})


def _allowed_hosts() -> tuple[str, ...]:
    """Return the names that Django serves its pages under."""
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return _LOCAL_HOSTS
    return tuple(settings.ALLOWED_HOSTS)


@lru_cache(maxsize=64)
def _is_served(host: str, allowed: tuple[str, ...]) -> bool:
    name, _port = split_domain_port(host.strip())
    return bool(name) and validate_host(name, allowed)


def _check_headers(request: Request) -> None:
    size = sum(len(name) + len(value) for name, value in request.scope["headers"])
    if size > MAX_HEADER_BYTES:
        raise Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the headers are larger than {MAX_HEADER_BYTES} bytes",
        )
    names = [name for name, _ in request.scope["headers"]]
    for name in names:
        if name in _ONCE and names.count(name) > 1:
            text = f"the header {name.decode()} is there more than once"
            raise Problem(HTTPStatus.BAD_REQUEST, text)
