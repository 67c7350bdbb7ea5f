"""HTTP at its edges, against the real server with a real service behind it."""

import json
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.brokers import BROKERS
from tests.support.http_stack import HttpStack
from tests.support.installation import Installation
from tests.support.processes import BIN
from tests.support.waiting import eventually

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Iterator[HttpStack]:
    folder = tmp_path_factory.mktemp("edges")
    installation = Installation(BROKERS["sqlite"], folder, migrated_database)
    try:
        with HttpStack(installation) as stack:
            stack.start()
            stack.start_instance()
            stack.wait_routed()
            stack.wait_routed("/api/web/orders/1")
            yield stack
    finally:
        installation.close()


def raw(stack: HttpStack, request: bytes) -> tuple[int, bytes]:
    """Send bytes as they are; return the status and the rest of what came until the end."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(request)
        connection.settimeout(10)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head + b"\r\n" + body


def get(target: bytes, *headers: bytes) -> bytes:
    lines = [b"GET " + target + b" HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


TABLE: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/api/unknown", {}, 404),
    ("GET", "/api", {}, 404),
    ("GET", "/api/web/who/", {}, 404),
    ("GET", "/api//web/who", {}, 404),
    ("GET", "/api/web%2Fwho", {}, 404),
    ("DELETE", "/api/web/who", {}, 405),
    ("POST", "/api/web/small", {"content": b"x" * 1001}, 413),
    ("PUT", "/api/web/orders/1", {"content": b"{}" + b" " * 262_144}, 413),
    ("PUT", "/api/web/orders/1", {"content": b"a=1", "headers": {"content-type": "text/x"}}, 415),
    ("PUT", "/api/web/orders/1", {"content": b"{}"}, 415),
    ("PUT", "/api/web/orders/1", {"content": b"{", "headers": {"content-type": "a/b+json"}}, 400),
    ("PUT", "/api/web/orders/1", {"json": [1]}, 400),
    ("PUT", "/api/web/orders/1", {"json": {"amount": 0}}, 422),
    ("GET", "/api/web/orders/one", {}, 422),
    ("GET", "/api/web/refuses", {}, 404),
    ("GET", "/api/web/fails", {}, 502),
    ("GET", "/api/web/waits", {}, 504),
    ("GET", "/api/web/slow", {}, 504),
    ("GET", "/api/web/echo/%2e%2e", {}, 400),
    ("GET", "/api/web/echo/a%2f..%2fb", {}, 400),
    ("GET", "/api/web/echo/a%2Fb", {}, 400),
    ("GET", "/api/web/echo/a%00", {}, 400),
    ("GET", "/api/web/echo/a%0d%0aX-Evil:%201", {}, 400),
    ("GET", "/api/web/echo/%ff", {}, 400),
    ("GET", "/api/web/who", {"headers": {"host": "evil.example"}}, 400),
    ("GET", "/bus/messages/unknown", {}, 404),
    ("GET", "/bus/other", {}, 404),
]


def test_errors_are_problem_json(stack: HttpStack) -> None:
    """One test, not one for each: they share a stack, which each process of a run starts anew."""
    for method, path, options, status in TABLE:
        response = stack.client.request(method, path, **options)
        case = f"{method} {path}: {response.status_code} {response.text}"
        assert response.status_code == status, case
        assert response.headers["content-type"] == "application/problem+json", case
        assert response.json()["status"] == status, case
        assert ("allow" in response.headers) is (status == 405), case


def test_what_came_is_what_the_instance_gets(stack: HttpStack) -> None:
    response = stack.client.get("/api/web/echo/a%3Fb%20c?x=1%2B2&x=3")
    came = response.json()
    assert came["raw_path"] == "/api/web/echo/a%3Fb%20c"
    assert came["query"] == "x=1%2B2&x=3"
    headers = dict(came["headers"])
    assert headers["x-forwarded-host"] == f"127.0.0.1:{stack.port}"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert len(headers["traceparent"]) == 55
    assert "x-web" not in response.headers  # named by Connection


BYTES: list[tuple[bytes, int]] = [
    (get(b"http://127.0.0.1/api/web/who"), 200),  # absolute form, RFC 9112 section 3.2.2
    (get(b"/api/web/../admin/"), 400),
    (get(b"/api/web/who", b"X-Bad: a\x00b"), 400),
    (get(b"/api/web/who", b"X Bad: a"), 400),
    (get(b"/api/web/who", b"Content-Length: 1, 2"), 400),
    (b"GET /api/web/who HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    (b"nonsense\r\n\r\n", 400),
    (
        b"POST /api/web/who HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        200,
    ),
]


def test_bytes_that_no_client_library_sends(stack: HttpStack) -> None:
    for request_bytes, status in BYTES:
        answered, text = raw(stack, request_bytes)
        assert answered == status, (request_bytes, text)
        if b"chunked" in request_bytes:
            assert b'"bytes":5' in text


def test_length_and_chunks_at_once_smuggle_nothing(stack: HttpStack) -> None:
    request = (
        b"POST /api/web/who HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/web/echo/smuggled HTTP/1.1\r\n"
        b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )
    before = len(stack.journal.lines(event="who"))
    status, text = raw(stack, request)
    # Refused, or read as two requests of this client: never one that the instance takes for more.
    assert status == 400 or text.count(b"HTTP/1.1 200") == 2, text
    assert len(stack.journal.lines(event="who")) - before <= 1


def test_a_response_that_breaks_off_breaks_off_for_the_client_too(stack: HttpStack) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        stack.client.get("/api/web/breaks")


def test_a_rate_is_kept_and_tells_when_to_come_again(stack: HttpStack) -> None:
    answers = [stack.client.get("/api/web/rated") for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].headers["retry-after"] == "1"
    assert {answer.status_code for answer in answers} == {200, 429}


def test_a_client_that_goes_away_is_counted_and_its_request_is_let_go(stack: HttpStack) -> None:
    for path in ("/api/web/waits", "/api/web/slow"):
        with pytest.raises(httpx.ReadTimeout):
            stack.client.get(path, timeout=0.1)
        labels = f'method="GET",route="{path}",service="web-service",status="499"'
        eventually(lambda labels=labels: labels in stack.client.get("/metrics").text, 5, labels)
    assert "gateway_requests_in_flight 0.0" in stack.client.get("/metrics").text


def test_a_hundred_megabytes_pass_both_ways_in_flat_memory(stack: HttpStack) -> None:
    pid = next(p.pid for p in stack.installation._processes if p.log.name == "web.log")

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b"y" * MEGABYTE

    stack.client.put("/api/web/big", content=b"x" * MEGABYTE).raise_for_status()
    before = peak_megabytes(pid)
    uploaded = stack.client.put("/api/web/big", content=parts())
    assert uploaded.json() == {"bytes": 100 * MEGABYTE}
    received = 0
    with stack.client.stream("GET", "/api/web/big") as download:
        for part in download.iter_raw():
            received += len(part)
    assert received == 100 * MEGABYTE
    assert peak_megabytes(pid) - before < 20


def test_a_slow_reader_does_not_fill_the_memory(stack: HttpStack) -> None:
    pid = next(p.pid for p in stack.installation._processes if p.log.name == "web.log")
    before = peak_megabytes(pid)
    with stack.client.stream("GET", "/api/web/big") as download:
        next(download.iter_raw())
        # Others are answered meanwhile, and what is not read is not fetched.
        for _ in range(20):
            stack.client.get("/api/web/who").raise_for_status()
        assert peak_megabytes(pid) - before < 20


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def test_twenty_clients_at_once_are_answered(stack: HttpStack) -> None:
    with ThreadPoolExecutor(20) as pool:
        paths = ["/api/web/who", "/api/web/orders/7"] * 50
        statuses = list(pool.map(lambda path: stack.client.get(path).status_code, paths))
    assert set(statuses) == {200}


@pytest.mark.long
def test_schemathesis_finds_no_server_error(stack: HttpStack) -> None:
    document = stack.client.get("/api/openapi.json").json()
    # What this service answers on purpose is no finding.
    for path in ("breaks", "fails", "waits", "slow", "status/{code}", "big"):
        del document["paths"][f"/api/web/{path}"]
    file = stack.installation.folder / "openapi.json"
    file.write_text(json.dumps(document))
    done = subprocess.run(
        [
            *(str(BIN / "schemathesis"), "run", str(file)),
            *("--url", f"http://127.0.0.1:{stack.port}"),
            *("--checks", "not_a_server_error,status_code_conformance"),
            *("--max-examples", "8", "--seed", "1", "--phases", "examples,coverage,fuzzing"),
            *("--request-timeout", "10", "--no-color"),
        ],
        capture_output=True,
        text=True,
        cwd=stack.installation.folder,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    operations = sum(len(item.keys() - {"parameters"}) for item in document["paths"].values())
    assert f"Tested: {operations}" in done.stdout
