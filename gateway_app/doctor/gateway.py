"""The HTTP servers of this host: the gateway says that it is ready, and Flower asks who comes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from django.conf import settings

from gateway_app import traps
from gateway_app.doctor.finding import Finding, fine, trapped

if TYPE_CHECKING:
    import httpx

#: Its database and its broker may take their time until it says that they do not answer.
ANSWER_SECONDS: Final = 15.0
#: A page of Flower that needs no worker.
_FLOWER_PAGE: Final = "/workers"


def look() -> Iterator[Finding]:
    """Yield what answers at the configured ports of this host."""
    yield _gateway(f"http://127.0.0.1:{settings.GATEWAY_PORT}")
    yield from _flower(f"http://127.0.0.1:{settings.FLOWER_PORT}")


def _gateway(url: str) -> Finding:
    import httpx  # a tenth of a second: not at the start of every web server

    try:
        answer = httpx.get(f"{url}/ready", timeout=ANSWER_SECONDS, trust_env=False)
    except httpx.ConnectError:
        return trapped("Gateway", traps.NO_GATEWAY, f"nobody listens at {url}")
    except httpx.TransportError as exc:
        return trapped("Gateway", traps.OTHER_PROGRAM, f"{url}: {exc or type(exc).__name__}")
    checks = _checks(answer)
    if checks is None:
        text = f"{url}/ready answers {answer.status_code}, and not as a gateway does"
        return trapped("Gateway", traps.OTHER_PROGRAM, text)
    if not answer.is_success:
        said = "; ".join(f"{name}: {text}" for name, text in checks.items() if text != "ok")
        return trapped("Gateway", traps.GATEWAY_NOT_READY, said)
    return fine("Gateway", f"ready at {url}")


def _checks(answer: "httpx.Response") -> dict[str, str] | None:
    """Return what the gateway says of what it needs; None if this is no gateway."""
    try:
        return dict(answer.json()["checks"])
    except (ValueError, KeyError, TypeError):
        return None


def _flower(url: str) -> Iterator[Finding]:
    import httpx

    try:
        answer = httpx.get(f"{url}{_FLOWER_PAGE}", timeout=ANSWER_SECONDS, trust_env=False)
    except httpx.TransportError:
        return  # none runs here: it is no part of what must
    if answer.is_success and "Flower" in answer.text:
        yield trapped("Flower", traps.FLOWER_OPEN, f"{url} shows itself to anybody")
    else:
        yield fine("Flower", f"asks for a login at {url}")
