"""A service with an HTTP server beside its handlers, run by `celery worker`.

WEB_SERVICE names it, WEB_PORT is where it listens, WEB_JOURNAL its file. Both die with one kill.
With WEB_LINGER_SECONDS the server goes on so long after the worker has said goodbye, and then
answers what it has: until then the gateway may still send to it.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import django

django.setup()

import uvicorn  # noqa: E402
from celery.signals import worker_ready, worker_shutdown  # noqa: E402
from pydantic import BaseModel, Field  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse, Response, StreamingResponse  # noqa: E402
from starlette.routing import Route as HttpRoute  # noqa: E402

from messaging import Envelope, Reject, Route, ServiceCommunicator  # noqa: E402
from messaging.clock import SYSTEM_CLOCK  # noqa: E402
from tests.support.journal import Journal  # noqa: E402

PORT = int(os.environ["WEB_PORT"])
MEGABYTE = 2**20
PREFIX = "/api/web"
journal = Journal(Path(os.environ["WEB_JOURNAL"]))
#: What the test makes of this instance: seconds before each answer, the status of its health.
state: dict[str, Any] = {"delay": 0.0, "health": 200}

communicator = ServiceCommunicator(
    os.environ["WEB_SERVICE"],
    version="1.0.0",
    host="127.0.0.1",
    port=PORT,
    health_endpoint="/health",
    routes=[
        Route(path=f"{PREFIX}/who", methods=("GET", "POST", "PUT")),
        Route(path=f"{PREFIX}/echo/{{name}}", methods=("GET", "POST")),
        Route(path=f"{PREFIX}/big", methods=("GET", "PUT")),
        Route(path=f"{PREFIX}/breaks", methods=("GET",)),
        Route(path=f"{PREFIX}/status/{{code}}", methods=("GET", "POST")),
        Route(path=f"{PREFIX}/slow", methods=("GET",), timeout=0.5),
        Route(path=f"{PREFIX}/small", methods=("POST",), max_body_bytes=1000),
        Route(path=f"{PREFIX}/rated", methods=("GET",), rate=2),
        Route(path=f"{PREFIX}/orders/{{id}}", methods=("GET", "PUT", "POST"), message="web.order"),
        Route(path=f"{PREFIX}/waits", methods=("GET",), message="web.wait", timeout=0.5),
        Route(path=f"{PREFIX}/refuses", methods=("GET",), message="web.refuse"),
        Route(path=f"{PREFIX}/fails", methods=("GET",), message="web.fail"),
    ],
)


class Order(BaseModel):
    id: int
    amount: int = Field(default=1, ge=1, le=1000)
    note: str = Field(default="", max_length=100)


@communicator.on_message("web.order", schema=Order)
def order(data: Order, message: Envelope) -> dict[str, Any]:
    journal.write(event="order", id=message.id, order=data.id, priority=message.priority)
    return data.model_dump()


@communicator.on_message("web.wait")
async def wait(_data: Any) -> None:
    await asyncio.sleep(2)


@communicator.on_message("web.refuse")
def refuse(_data: Any) -> None:
    raise Reject("there is none", code="not_found")


@communicator.on_message("web.fail")
def fail(_data: Any) -> None:
    raise ValueError("a fault of the service")


async def who(request: Request) -> Response:
    await asyncio.sleep(state["delay"])
    body = await request.body()
    journal.write(event="who", method=request.method)
    return JSONResponse({"pid": os.getpid(), "bytes": len(body)})


async def echo(request: Request) -> Response:
    """Say what came, as it came."""
    raw = request.scope["raw_path"].decode()
    headers = [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.scope["headers"]]
    answer = {"raw_path": raw, "query": request.url.query, "headers": headers}
    return JSONResponse(answer, headers={"X-Web": "1", "Connection": "X-Web"})


async def big(request: Request) -> Response:
    """Send 100 MB, or count what comes."""
    if request.method == "GET":
        return StreamingResponse(_megabytes(100), media_type="application/octet-stream")
    count = 0
    async for part in request.stream():
        count += len(part)
    return JSONResponse({"bytes": count})


async def _megabytes(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * MEGABYTE


async def breaks(_request: Request) -> Response:
    """Promise more than what comes."""

    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionAbortedError("on purpose")

    return StreamingResponse(half(), headers={"Content-Length": "8"})


async def with_status(request: Request) -> Response:
    journal.write(event="status", code=request.path_params["code"])
    return Response(status_code=int(request.path_params["code"]))


async def slow(_request: Request) -> Response:
    await asyncio.sleep(5)
    return Response()


async def health(_request: Request) -> Response:
    return Response(status_code=state["health"])


async def control(request: Request) -> Response:
    """Let the test change `state`."""
    state.update(await request.json())
    return JSONResponse(state)


web = Starlette(
    routes=[
        HttpRoute(f"{PREFIX}/who", who, methods=["GET", "POST", "PUT"]),
        HttpRoute(f"{PREFIX}/echo/{{name:path}}", echo, methods=["GET", "POST"]),
        HttpRoute(f"{PREFIX}/big", big, methods=["GET", "PUT"]),
        HttpRoute(f"{PREFIX}/breaks", breaks),
        HttpRoute(f"{PREFIX}/status/{{code}}", with_status, methods=["GET", "POST"]),
        HttpRoute(f"{PREFIX}/slow", slow),
        HttpRoute(f"{PREFIX}/small", who, methods=["POST"]),
        HttpRoute(f"{PREFIX}/rated", who),
        HttpRoute("/health", health),
        HttpRoute("/control", control, methods=["PUT"]),
    ]
)


@worker_ready.connect
def on_ready(**_: Any) -> None:
    server = uvicorn.Server(uvicorn.Config(web, port=PORT, log_level="error"))
    serving = threading.Thread(target=server.run, daemon=True)
    serving.start()
    if "WEB_LINGER_SECONDS" in os.environ:
        worker_shutdown.connect(partial(end_gently, server, serving), weak=False)
    journal.write(event="ready")


def end_gently(server: uvicorn.Server, serving: threading.Thread, **_: Any) -> None:
    SYSTEM_CLOCK.sleep(float(os.environ["WEB_LINGER_SECONDS"]))
    server.should_exit = True
    serving.join()


app = communicator.celery_app
