"""Ten thousand HTTP requests changed at random: the gateway's server answers them, and lives."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.test_floods import megabytes
from tests.support.http_mutations import mutated
from tests.support.http_stack import HttpStack
from tests.support.installation import Installation
from tests.support.mutations import TIMES

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]

COUNT = 1_000 * TIMES
AT_A_TIME = 50
#: A server that waits for the rest of a request is told after this that nothing more comes.
IDLE_SECONDS = 0.2
#: Whatever came: after this it has answered or closed.
MOST_SECONDS = 30.0
#: What the second half may need beyond the first.
MOST_MORE_MB = 20.0


@pytest.fixture
def stack(installation: Installation) -> Iterator[HttpStack]:
    made = installation.manage("bus_token", "create", "fuzz", "--scope", "/api/*", "--for", "1d")
    assert made.returncode == 0, made.stderr
    with HttpStack(installation, http_auth="token") as stack:
        stack.client.headers["Authorization"] = f"Bearer {made.stdout.split()[0]}"
        yield stack.start()


def requests_of(token: str) -> list[bytes]:
    """Return good requests of each kind, and the same without a token."""
    body = b'{"amount": 5, "note": "n"}'
    json = b"Content-Type: application/json\r\nContent-Length: %d" % len(body)
    lines = [
        (b"GET /api/web/orders/7", b"", b""),
        (b"POST /api/web/orders/7", json, body),
        (b"POST /api/web/orders/7", json + b"\r\nPrefer: respond-async", body),
        (
            b"PUT /api/web/orders/7",
            json + b"\r\nPrefer: respond-async\r\nIdempotency-Key: one",
            body,
        ),
        (b"GET /api/web/echo/a%20b?x=1", b"", b""),
        (b"POST /api/web/who", json, body),
        (b"POST /api/web/who", b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        (b"GET /bus/messages/01890000-0000-7000-8000-000000000000", b"", b""),
        (b"GET /api/openapi.json", b"", b""),
        (b"GET /health", b"", b""),
    ]
    found = []
    for first, headers, content in lines:
        for authorization in (b"Authorization: Bearer %s" % token.encode(), b""):
            head = [first + b" HTTP/1.1", b"Host: localhost", b"Connection: close"]
            head += [each for each in (authorization, headers) if each]
            found.append(b"\r\n".join(head) + b"\r\n\r\n" + content)
    return found


def test_no_request_breaks_or_holds_up_the_server(stack: HttpStack) -> None:
    instance = stack.start_instance()
    stack.wait_routed()
    stack.wait_routed("/api/web/orders/7")
    good = requests_of(stack.client.headers["Authorization"].partition(" ")[2])
    assert statuses_of(asyncio.run(_said(stack.port, good[0]))) == [200]
    changed = [mutated(good[seed % len(good)], seed) for seed in range(COUNT)]

    first = asyncio.run(_send_all(stack.port, changed[: COUNT // 2]))
    used = megabytes(stack.web)
    second = asyncio.run(_send_all(stack.port, changed[COUNT // 2 :]))
    assert megabytes(stack.web) < used + MOST_MORE_MB

    answers = first + second
    for request, answer in zip(changed, answers, strict=True):
        assert answer is not None, f"no end within {MOST_SECONDS:g} s: {request[:500]!r}"
        assert not {500, 502, 504} & set(statuses_of(answer)), (request[:500], answer[:500])
    counted = Counter(status for answer in answers for status in statuses_of(answer or b""))
    # It did reach everything behind the server, and what is wrong was told in many ways.
    assert {200, 202, 400, 401, 404, 405, 413, 415, 422, 431} <= set(counted), counted
    assert statuses_of(asyncio.run(_said(stack.port, good[0]))) == [200]
    assert stack.client.get("/api/web/who").json()["pid"] == instance.process.pid
    log = stack.web.log.read_text()
    assert "ERROR" not in log
    assert "Traceback" not in log
    assert all(process.is_running() for process in [*stack.processes, instance.process])


async def _send_all(port: int, requests: list[bytes]) -> list[bytes | None]:
    """Send each on a connection of its own, several at a time; return what came back."""
    free = asyncio.Semaphore(AT_A_TIME)

    async def one(request: bytes) -> bytes | None:
        async with free:
            return await _said(port, request)

    return await asyncio.gather(*(one(request) for request in requests))


async def _said(port: int, request: bytes) -> bytes | None:
    """Return all that the server says until it closes; None: it does neither."""
    said = b""
    try:
        async with asyncio.timeout(MOST_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                while part := await _next(reader, writer):
                    said += part
            except OSError:
                pass  # closed with something of ours unread: what it said before is what counts
            finally:
                writer.close()
    except TimeoutError:
        return None
    return said


async def _next(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(65_536), IDLE_SECONDS)
    except TimeoutError:
        writer.write_eof()
        return await reader.read(65_536)


def statuses_of(answer: bytes | None) -> list[int]:
    return [int(each) for each in re.findall(rb"(?:^|\n)HTTP/1\.1 (\d{3}) ", answer or b"")]
