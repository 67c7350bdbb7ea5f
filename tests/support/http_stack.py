"""The gateway's server, its worker and beat, and services behind them, as real processes."""

import contextlib
import socket
from typing import Any, Self

import httpx

from gateway_app.preconditions import free_port
from tests.support.installation import Installation
from tests.support.journal import Journal
from tests.support.processes import Process
from tests.support.waiting import eventually

SERVICE = "web-service"
#: Short enough for tests, long enough for two busy cores.
FAST = {
    "heartbeat_seconds": 0.5,
    "suspect_seconds": 2.0,
    "down_seconds": 4.0,
    "gone_seconds": 60.0,
    "health_check_seconds": 1.0,
    "request_timeout_seconds": 3.0,
    "breaker_open_seconds": 1.0,
}


class Instance:
    """One process of the web service."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port

    def set(self, **state: Any) -> None:
        url = f"http://127.0.0.1:{self.port}/control"
        httpx.put(url, json=state, trust_env=False).raise_for_status()


class HttpStack:
    """Everything it starts belongs to the installation, and ends with it."""

    def __init__(self, installation: Installation, **settings: Any) -> None:
        installation.settings |= FAST | settings
        self.installation = installation
        self.port = free_port()
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=30
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def journal(self) -> Journal:
        return self.installation.journal(SERVICE)

    def start(self) -> Self:
        """Start server, worker and beat of the gateway; on return the server answers."""
        self.processes = [
            self.start_web(),
            self.installation.start("api-gateway", "celery", "-A", "gateway_app", "worker"),
            self.installation.start("beat", "celery", "-A", "gateway_app", "beat"),
        ]
        return self

    def start_web(self) -> Process:
        arguments = ("--port", str(self.port), "--timeout-graceful-shutdown", "5")
        process = self.installation.start(
            "web", "uvicorn", "gateway_app.asgi:application", *arguments
        )
        eventually(lambda: _answers(self.port) or not process.is_running(), 30, "the web server")
        assert process.is_running(), process.log.read_text()[-3000:]
        self.web = process
        return process

    def start_instance(self, port: int | None = None) -> Instance:
        """Start an instance; on return it serves, but may not be registered yet."""
        self.installation._services.add(SERVICE)
        port = port or free_port()
        process = self.installation.start(
            f"{SERVICE}-{port}",
            *("celery", "-A", "tests.support.web_instance", "worker"),
            WEB_SERVICE=SERVICE,
            WEB_PORT=str(port),
            WEB_JOURNAL=str(self.journal.path),
        )
        eventually(lambda: _answers(port) or not process.is_running(), 30, "the instance")
        assert process.is_running(), process.log.read_text()[-3000:]
        return Instance(process, port)

    def wait_routed(self, path: str = "/api/web/who") -> None:
        """Wait until the gateway routes this path to somebody."""
        eventually(lambda: self.client.get(path).status_code < 400, 30, f"a route to {path}")


def _answers(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
