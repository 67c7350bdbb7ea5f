"""A real web site on the loopback interface, and messages as they reach a service's handlers."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from messaging import Envelope, ServiceCommunicator
from messaging.envelope import MessageKind, new_message_id, utc_now

HTML = "text/html; charset=utf-8"


def handle(communicator: ServiceCommunicator, message_type: str, data: Any) -> Any:
    """What the service's handler answers to such a request; its data is checked first."""
    message_id = new_message_id()
    envelope = Envelope(
        id=message_id,
        type=message_type,
        kind=MessageKind.REQUEST,
        source="tester",
        target=communicator.name,
        data=data,
        created_at=utc_now(),
        correlation_id=message_id,
    )
    handler = communicator.bus.handlers.find(message_type)
    assert handler is not None
    return handler.call(envelope)


@dataclass(frozen=True)
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": HTML})


def page(title: str, *links: str) -> Answer:
    anchors = "".join(f'<a href="{link}">more</a>' for link in links)
    return Answer(f"<html><h1>{title}</h1><p>About it.</p>{anchors}</html>".encode())


def redirect(target: str) -> Answer:
    return Answer(status=302, headers={"Location": target})


class Site:
    """Serves what `pages` says and remembers what was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.requested: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requested.append(self.path)
                answer = site.pages.get(self.path, Answer(status=404))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.server_port}{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()
