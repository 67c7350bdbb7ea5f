"""One question to one health endpoint over HTTP.

Spoken with h11 on a bare connection. A client with pools, redirects and cookies takes five times
the CPU of it, and with many probes at once that is what the others wait for: on a busy host those
were late that had long been answered.
"""

import asyncio
import contextlib
import errno
import os
import socket
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import h11

from gateway_app.networks import Networks, NotAllowed
from messaging.clock import SYSTEM_CLOCK

#: So much of an answer is read, its head not counted.
MOST_BYTES: Final = 65_536

#: What has a meaning in a path with its query, and stays as it is.
_SAFE: Final = "/?:@!$&'()*+,;=%~"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an instance says how it is."""

    instance_id: str
    host: str
    port: int
    #: Path and query.
    path: str


@dataclass(frozen=True, slots=True)
class Probe:
    """What became of asking one endpoint."""

    #: Empty: it is well. Else text for people, the same for the same finding.
    error: str = ""
    #: Until it answered; None: it did not.
    seconds: float | None = None
    #: Whether it took too long.
    is_late: bool = False
    #: Whether it was not asked, because its address is not one the gateway may connect to.
    is_refused: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether an HTTP answer came, a bad one included."""
        return self.seconds is not None


async def probe(endpoint: Endpoint, timeout_seconds: float, networks: Networks) -> Probe:
    """Ask an endpoint and return what became of it; never raises. Safe to repeat.

    Any status of 200 to 299 is well; a redirect is not.

    Args:
        endpoint: whom to ask.
        timeout_seconds: how long all of it may take: looking up the name, where that is not done
            already, connecting, and reading the answer.
        networks: where the gateway may connect to.
    """
    began = SYSTEM_CLOCK.monotonic()
    try:
        async with asyncio.timeout(timeout_seconds):
            status = await _status(endpoint, began + timeout_seconds, networks)
    except TimeoutError:
        return Probe(f"no answer within {timeout_seconds:g} s", is_late=True)
    except NotAllowed as exc:
        return Probe(str(exc), is_refused=True)
    except (OSError, ValueError, h11.ProtocolError) as exc:
        return Probe(_reason(exc))
    seconds = SYSTEM_CLOCK.monotonic() - began
    is_well = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    return Probe("" if is_well else f"HTTP {status}", seconds)


async def _status(endpoint: Endpoint, ends_at: float, networks: Networks) -> int:
    """Return the status of the answer, once as much of it as is wanted has come."""
    question = _question(endpoint)
    reader, writer = await _connect(endpoint, ends_at, networks)
    try:
        connection = h11.Connection(h11.CLIENT)
        end = h11.EndOfMessage()
        writer.write((connection.send(question) or b"") + (connection.send(end) or b""))
        status, read = 0, 0
        while read < MOST_BYTES:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(MOST_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                read += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        return status
    finally:
        writer.transport.abort()


async def _connect(
    endpoint: Endpoint, ends_at: float, networks: Networks
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first allowed address of the host that takes it; else the last one's error.

    The name is looked up once, and the connection made to an address that was checked.

    Each may take half of the time that is left, the last one all of it. Not asyncio's race of
    addresses: Python 3.11 leaves its socket open when time runs out just as it connects.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    *others, last = networks.allowed_of(str(address[0]) for *_, address in found)
    for address in others:
        with contextlib.suppress(OSError):  # a refusal, or its time is over: the next has its turn
            async with asyncio.timeout((ends_at - SYSTEM_CLOCK.monotonic()) / 2):
                return await asyncio.open_connection(address, endpoint.port)
    return await asyncio.open_connection(last, endpoint.port)


def _question(endpoint: Endpoint) -> h11.Request:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return h11.Request(
        method="GET",
        target=quote(f"/{endpoint.path.removeprefix('/')}", safe=_SAFE),
        headers=[
            ("Host", f"{host}:{endpoint.port}"),
            ("User-Agent", "bus-health-check"),
            ("Connection", "close"),
        ],
    )


def _reason(error: Exception) -> str:
    """Return a few words, without what differs from one time to the next."""
    if isinstance(error, socket.gaierror):
        return "host name not found"
    if isinstance(error, h11.RemoteProtocolError):
        return "no HTTP answer"
    if not isinstance(error, OSError):
        return "no valid address"  # neither a name nor what may stand in a header
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "connection broken"
    return os.strerror(error.errno or errno.EHOSTUNREACH).lower()
