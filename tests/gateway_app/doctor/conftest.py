import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway_app import bus
from gateway_app.preconditions import free_port, is_port_taken
from messaging import MessageBus, MessagingConfig
from tests.support.waiting import eventually

#: Puts the gateway's communicator on another broker.
OnBroker = Callable[..., MessageBus]


@pytest.fixture
def on_broker(own_broker: MessageBus, monkeypatch: pytest.MonkeyPatch) -> OnBroker:
    def move(url: str, **settings: Any) -> MessageBus:
        config = MessagingConfig(broker_url=url, broker_timeout_seconds=2.0, **settings)
        moved = MessageBus(config)
        moved.handlers = own_broker.handlers
        monkeypatch.setitem(bus.communicator.__dict__, "bus", moved)
        return moved

    return move


#: Starts a Redis server with these options; returns its URL.
RedisServer = Callable[..., str]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Redis servers of one test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> str:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", *options]
        started.append(
            subprocess.Popen(
                command, cwd=tmp_path, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            )
        )
        eventually(lambda: is_port_taken(port), what="a Redis server")
        return f"redis://127.0.0.1:{port}/0"

    yield start
    for process in started:
        process.kill()
        process.wait()


#: Answers every request with this status and text; returns the port.
HttpServer = Callable[[int, str], int]


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    """HTTP servers of one test."""
    started: list[ThreadingHTTPServer] = []

    def start(status: int, text: str) -> int:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return int(server.server_address[1])

    yield start
    for server in started:
        server.shutdown()
        server.server_close()
