"""The bus as services use it: a request to the gateway, answered through a private queue."""

from collections.abc import Iterator
from typing import Final

from gateway_app import traps
from gateway_app.bus import communicator
from gateway_app.doctor.finding import Finding, LayerBroken, fine
from gateway_app.ops import figures
from messaging import MessagingError
from messaging.clock import SYSTEM_CLOCK
from messaging.registration import HEALTH_CHECK

#: A worker that has nothing to do answers in milliseconds; one with much to do before this.
ANSWER_SECONDS: Final = 5.0


def look() -> Iterator[Finding]:
    """Yield whether the gateway's worker answers."""
    began = SYSTEM_CLOCK.monotonic()
    try:
        communicator.request(communicator.name, HEALTH_CHECK, {}, timeout=ANSWER_SECONDS)
    except MessagingError as exc:
        raise LayerBroken("Request", traps.NO_ANSWER, str(exc)) from exc
    took = figures.duration_text(SYSTEM_CLOCK.monotonic() - began)
    yield fine("Request", f"{communicator.name} answers, {took}")
