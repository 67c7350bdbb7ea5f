"""``/health``: this process lives. ``/ready``: it can do its work. ``/metrics``: how it does."""

import asyncio
from collections.abc import Awaitable

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from kombu.exceptions import OperationalError

from gateway_app import bus
from gateway_app.http import metrics as measured
from gateway_app.http.database import in_database
from messaging.errors import BrokerError


async def health(_request: HttpRequest) -> JsonResponse:
    """Answer, without looking at anything else: restarting this process would not help that."""
    return JsonResponse({"status": "live"})


async def ready(_request: HttpRequest) -> JsonResponse:
    """Answer 200 if database and broker answer, else 503 with what went wrong.

    Takes a few ``broker_timeout_seconds`` at most, the database's own bound apart.
    """
    checks = {
        "database": await _fault(in_database(_ask_database)),
        "broker": await _fault(asyncio.to_thread(_ask_broker)),
    }
    is_ready = not any(checks.values())
    return JsonResponse(
        {
            "status": "ready" if is_ready else "not ready",
            "checks": {name: fault or "ok" for name, fault in checks.items()},
        },
        status=200 if is_ready else 503,
    )


async def metrics(_request: HttpRequest) -> HttpResponse:
    """Answer with everything that Prometheus reads; 503 if the database does not answer."""
    try:
        text = await in_database(measured.render)
    except DatabaseError as exc:
        return HttpResponse(f"the database does not answer: {exc}\n", status=503)
    return HttpResponse(text, content_type=measured.CONTENT_TYPE)


async def _fault(asking: Awaitable[None]) -> str:
    """Return why a check failed; empty if it did not."""
    try:
        await asking
    except (DatabaseError, BrokerError, OperationalError, OSError) as exc:
        return f"{type(exc).__name__}: {exc}"
    return ""


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _ask_broker() -> None:
    """Open a connection and a channel: each broker has to answer one or the other."""
    config = bus.communicator.bus.config
    with bus.communicator.bus.connection() as broker:
        broker.ensure_connection(
            max_retries=1, interval_start=0.1, timeout=config.broker_timeout_seconds
        )
        broker.default_channel.close()
