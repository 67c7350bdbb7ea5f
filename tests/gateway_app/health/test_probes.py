"""Health checks over HTTP, of real servers."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway_app.health import host_names
from gateway_app.health.http_checks import is_own_fault, probe_all
from gateway_app.health.http_probe import MOST_BYTES, Endpoint, Probe
from gateway_app.networks import Networks
from messaging import MessagingConfig
from messaging.clock import SYSTEM_CLOCK
from tests.support.resolver import Resolver

EVERYWHERE = Networks()
#: How a test has one connection served; the socket is closed then.
Serve = Callable[[socket.socket], None]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def a_server(stack: ExitStack, serve: Serve, host: str = "127.0.0.1", port: int = 0) -> Endpoint:
    """Serve each connection on a thread until the test ends."""
    listener = stack.enter_context(socket.create_server((host, port), backlog=100))
    port = listener.getsockname()[1]

    def handle(near: socket.socket) -> None:
        with near:
            try:
                serve(near)
            except OSError:
                return  # the client went away, as some here provoke

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(near,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    stack.callback(listener.shutdown, socket.SHUT_RDWR)
    return Endpoint(f"i{port}", host, port, "/health")


def answering(status: str, headers: str = "", body: bytes = b"ok") -> Serve:
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()

    def serve(near: socket.socket) -> None:
        near.recv(65_536)
        near.sendall(head + body)

    return serve


def ask(
    *endpoints: Endpoint, timeout_seconds: float = 0.5, networks: Networks = EVERYWHERE
) -> list[Probe]:
    ends_at = SYSTEM_CLOCK.monotonic() + 60
    probes = probe_all(
        endpoints, timeout_seconds=timeout_seconds, ends_at=ends_at, networks=networks
    )
    return [probes[endpoint.instance_id] for endpoint in endpoints]


def silent(near: socket.socket) -> None:
    while near.recv(65_536):
        pass


def dripping(near: socket.socket) -> None:
    near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    stopped = threading.Event()
    while not stopped.wait(0.1):
        near.sendall(b"x")


def foreign(near: socket.socket) -> None:
    near.recv(65_536)
    near.sendall(b"SSH-2.0-nobody\r\n")


@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (answering("200 OK"), ""),
        (answering("204 No Content", body=b""), ""),
        (answering("503 Service Unavailable"), "HTTP 503"),
        (answering("302 Found", "Location: /elsewhere\r\n"), "HTTP 302"),
        (silent, "no answer within 0.5 s"),
        (dripping, "no answer within 0.5 s"),
        (foreign, "no HTTP answer"),
    ],
)
def test_what_is_said_of_an_endpoint(serve: Serve, error: str, stack: ExitStack) -> None:
    (probe,) = ask(a_server(stack, serve))
    assert probe.error == error


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_an_endpoint_nobody_listens_on_refuses_the_connection(host: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    (probe,) = ask(Endpoint("i", host, port, "/health"))
    assert (probe.error, probe.is_answered) == ("connection refused", False)


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("no-such-host.invalid", "host name not found"),
        ("a b/c@d:1[", "host name not found"),
        ("x" * 255, "no valid address"),
        ("☃", "no valid address"),
        ("::1%no-such-link", "host name not found"),
    ],
)
def test_an_address_that_is_none_is_a_failure_of_that_instance_alone(
    host: str, error: str, stack: ExitStack
) -> None:
    well = a_server(stack, answering("200 OK"))
    bad, good = ask(Endpoint("bad", host, 80, "/health"), well, timeout_seconds=5)
    assert (bad.error, good.error) == (error, "")


def test_no_more_than_64_kb_of_an_endless_answer_are_read(stack: ExitStack) -> None:
    sent = 0
    gone = threading.Event()

    def endless(near: socket.socket) -> None:
        nonlocal sent
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                sent += near.send(b"x" * 4096)
        finally:
            gone.set()

    (probe,) = ask(a_server(stack, endless), timeout_seconds=5)
    assert probe.error == ""
    assert gone.wait(5)
    # What the system buffers on both sides comes on top.
    assert sent < 100 * MOST_BYTES


def test_path_and_query_arrive_as_they_were_registered(stack: ExitStack) -> None:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    port = server.server_address[1]
    ask(
        Endpoint("a", "127.0.0.1", port, "/health?deep=1&x=%20"),
        Endpoint("b", "127.0.0.1", port, "healthz"),
        Endpoint("c", "localhost", port, "/dzień dobry"),
        timeout_seconds=5,
    )
    assert sorted(seen) == ["/dzie%C5%84%20dobry", "/health?deep=1&x=%20", "/healthz"]


def test_dead_ones_do_not_keep_the_others_waiting(stack: ExitStack) -> None:
    well = [a_server(stack, answering("200 OK")) for _ in range(60)]
    dead = [a_server(stack, silent) for _ in range(60)]
    began = SYSTEM_CLOCK.monotonic()
    probes = ask(*well, *dead, timeout_seconds=2)  # their threads share this process's time
    seconds = SYSTEM_CLOCK.monotonic() - began
    assert [probe.error for probe in probes[:60]] == [""] * 60
    assert {probe.error for probe in probes[60:]} == {"no answer within 2 s"}
    assert seconds < 60 * 2 / 4


def test_one_that_was_late_is_asked_again_when_the_others_are_done(stack: ExitStack) -> None:
    times = iter((silent, answering("200 OK")))
    (probe,) = ask(a_server(stack, lambda near: next(times)(near)))
    assert (probe.error, probe.is_answered) == ("", True)


@pytest.fixture
def dead_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names that begin with ``dead`` get no answer before the test ends. Returns those asked."""
    asked: list[str] = []
    ended = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **more: Any) -> Any:
        asked.append(host)
        if host.startswith("dead"):
            ended.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "given up")
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    ended.set()


@pytest.mark.parametrize("first", ["refuses", "never answers"])
def test_the_next_address_of_a_name_is_tried_when_the_first_one_does_not_connect(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    well = a_server(stack, answering("200 OK"))
    if first == "never answers":
        full = stack.enter_context(socket.create_server(("127.0.0.2", well.port), backlog=0))
        waiting = stack.enter_context(socket.socket())
        waiting.connect(full.getsockname())  # nobody accepts it, and there is no room for more
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    found = [(*kind, (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    (probe,) = ask(Endpoint("i", "double", well.port, "/health"), timeout_seconds=2)
    assert probe.error == ""


def test_names_that_nobody_answers_for_keep_no_good_one_waiting(
    stack: ExitStack, dead_names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_names, "LOOKUP_SECONDS", 0.7)  # longer than a probe may take
    well = a_server(stack, answering("200 OK"))
    dead = [Endpoint(f"d{n}", f"dead{n}", 80, "/") for n in range(host_names.AT_ONCE - 1)]
    good = [Endpoint(f"g{n}", "localhost", well.port, "/health") for n in range(5)]
    probes = ask(*dead, *good, timeout_seconds=0.5)
    assert [probe.error for probe in probes[len(dead) :]] == [""] * 5
    assert {probe.error for probe in probes[: len(dead)]} == {"host name not found"}
    assert dead_names.count("localhost") == 1


def test_a_name_whose_look_up_had_no_turn_is_not_judged(
    stack: ExitStack, dead_names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_names, "LOOKUP_SECONDS", 0.2)
    well = a_server(stack, answering("200 OK"))
    more = host_names.AT_ONCE + 5
    dead = [Endpoint(f"d{n}", f"dead{n}", 80, "/") for n in range(more)]
    ends_at = SYSTEM_CLOCK.monotonic() + 0.5
    probes = probe_all([*dead, well], timeout_seconds=0.5, ends_at=ends_at, networks=EVERYWHERE)
    assert probes[well.instance_id].error == ""  # an address needs no look-up
    assert len(probes) == host_names.AT_ONCE + 1


def test_who_has_no_turn_in_time_is_not_judged(stack: ExitStack) -> None:
    endpoint = a_server(stack, silent)
    now = SYSTEM_CLOCK.monotonic()
    assert probe_all([endpoint], timeout_seconds=0.5, ends_at=now, networks=EVERYWHERE) == {}


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "::ffff:169.254.169.254",
        "metadata.test",
    ],
)
def test_an_endpoint_at_an_address_that_is_not_allowed_is_not_asked(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Resolver(monkeypatch).set("metadata.test", ["169.254.169.254"])
    networks = Networks.of(MessagingConfig(broker_url="sqlite:////x"))
    (probe,) = ask(Endpoint("i", host, 80, "/health"), networks=networks)
    assert probe.is_refused
    assert not probe.is_answered
    assert probe.error in {
        "address 169.254.169.254 is not allowed: upstream_networks",
        "address ::ffff:169.254.169.254 is not allowed: upstream_networks",
    }


def test_a_name_that_changes_its_meaning_after_the_check_is_asked_where_it_was_checked(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer is the internal one."""
    internal: list[bytes] = []
    heads: list[bytes] = []

    def kept(heads: list[bytes]) -> Serve:
        def serve(near: socket.socket) -> None:
            heads.append(near.recv(65_536))
            near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        return serve

    port = a_server(stack, kept(internal)).port
    a_server(stack, kept(heads), "127.0.0.2", port)
    resolver = Resolver(monkeypatch)
    resolver.set("rebind.test", ["127.0.0.1", "127.0.0.2"], ["127.0.0.1"])
    networks = Networks.of(
        MessagingConfig(broker_url="sqlite:////x", upstream_networks="127.0.0.2")
    )
    (probe,) = ask(Endpoint("i", "rebind.test", port, "/health"), networks=networks)
    assert probe.error == ""
    assert resolver.asked == ["rebind.test"]
    assert f"Host: rebind.test:{port}\r\n".encode() in heads[0]
    assert internal == []


def test_a_redirect_of_an_endpoint_is_not_followed(stack: ExitStack) -> None:
    asked: list[bytes] = []
    elsewhere = a_server(stack, lambda near: asked.append(near.recv(65_536)))
    location = f"Location: http://127.0.0.1:{elsewhere.port}/latest/meta-data/\r\n"
    (probe,) = ask(a_server(stack, answering("302 Found", location)))
    assert probe.error == "HTTP 302"
    assert asked == []


@pytest.mark.parametrize(
    ("answers", "is_own"),
    [
        ("....", True),
        ("...", False),  # too few to tell
        ("...!", False),
        ("." * 17 + "!" * 3, True),
        ("." * 16 + "!" * 4, False),
        ("5" * 20, False),  # bad answers show that the way there is open
        ("", False),
    ],
)
def test_whose_fault_it_is_when_nearly_nobody_answers(answers: str, is_own: bool) -> None:
    kinds = {
        ".": Probe("connection refused"),
        "!": Probe("", seconds=0.1),
        "5": Probe("HTTP 503", seconds=0.1),
    }
    probes = {str(number): kinds[kind] for number, kind in enumerate(answers)}
    # Those whose heartbeats stopped as well are no sign of it.
    probes |= {f"gone{number}": kinds["!"] for number in range(9)}
    assert is_own_fault(probes, {key for key in probes if not key.startswith("gone")}) is is_own
