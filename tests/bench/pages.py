"""W12: the operator pages: what they cost the bus, and how long their first paint is waited for.

In an old database, with many services: what grows with either would show here.
"""

import itertools
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import Final

from messaging.clock import SYSTEM_CLOCK
from tests.bench.arithmetic import Outcome, percentile, rate, shortfall
from tests.bench.counts import Counts
from tests.bench.filling import record_event, register_services
from tests.bench.gateway import gateway_environment, start_gateway
from tests.bench.measurement import Failed, Measurement
from tests.support.installation import ROOT

_PATHS: Final = {"overview": "/ops/", "queues": "/ops/queues/", "topology": "/ops/topology/"}
#: Of each page; the first one is not counted: nobody has looked yet, so nothing is known.
_PAINTS: Final = 5
#: What the Overview says while the ledger is read for the first time, and for how long it may.
_NOT_READ: Final = b"being balanced"
_FIRST_SECONDS: Final = 60.0
#: Until the next event, which should not fall into step with the stream.
_BETWEEN_SECONDS: Final = 0.37
_EVENT_SECONDS: Final = 20.0
_LOG_IN: Final = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
user = User.objects.create_superuser("bench", "", "bench")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print("session=" + session.session_key)
"""


def beside_viewers(run: Measurement, viewers: int, counts: Counts) -> Outcome:
    """W12: CRITICAL messages while so many look at the Overview."""
    register_services(run, counts.seen_services)
    port = start_gateway(run)
    session = _log_in(run)
    updates: list[float] = []
    with ExitStack() as stack:
        for _ in range(viewers):
            stack.enter_context(_viewer(port, session))
        if viewers:
            _wait_until_read(port, session)
            stack.enter_context(_timed_updates(run, port, session, updates))
        run.start("c4", BENCH_DURABLE="1")
        sent = run.drive("publish", counts.messages, BENCH_DURABLE="1")
        records = run.records(sent["n"])
        if not records:
            raise Failed("no message was handled")
    values = {
        "publish_us": sent["secs"] / sent["n"] * 1e6,
        "handle_us": 1e6 / (rate(records) or 1),
    }
    if updates:
        values |= {"update_p50_ms": percentile(updates, 50), "update_max_ms": max(updates)}
    for name, path in _PATHS.items():
        values[f"{name}_ms"] = percentile(list(_paints(port, session, path)), 50)
    return Outcome(values, shortfall(records, sent["n"], counts.messages))


@contextmanager
def _viewer(port: int, session: str) -> Iterator[None]:
    """Follow the Overview as a browser does, without showing it."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(_request("/ops/live/overview/", session))
        head = connection.recv(65_536)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise Failed(f"no stream: {head[:300]!r}")
        reader = threading.Thread(target=_read_on, args=(connection,))
        reader.start()
        try:
            yield
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            reader.join()


@contextmanager
def _timed_updates(run: Measurement, port: int, session: str, into: list[float]) -> Iterator[None]:
    """Put events on record all the time, and note how long each takes to a viewer, in ms."""
    ended = threading.Event()

    def note() -> None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as viewer,
            closing(sqlite3.connect(run.database, timeout=30)) as db,
        ):
            viewer.sendall(_request("/ops/live/overview/", session))
            for number in itertools.count():
                if ended.wait(_BETWEEN_SECONDS):
                    return
                mark = f"event-of-the-bench-{number}."
                with db:
                    record_event(db, mark)
                began = SYSTEM_CLOCK.monotonic()
                _read_to(viewer, mark.encode())
                into.append((SYSTEM_CLOCK.monotonic() - began) * 1e3)

    with ThreadPoolExecutor(1) as threads:
        noting = threads.submit(note)
        try:
            yield
        finally:
            ended.set()
            noting.result(30)


def _read_to(connection: socket.socket, mark: bytes) -> None:
    """Read a stream until something has come."""
    ends_at, seen = SYSTEM_CLOCK.monotonic() + _EVENT_SECONDS, b""
    while mark not in seen:
        if SYSTEM_CLOCK.monotonic() > ends_at:
            raise Failed(f"an event was not seen within {_EVENT_SECONDS:g} s")
        part = connection.recv(262_144)
        if not part:
            raise Failed("the stream ended")
        seen = seen[-len(mark) :] + part


def _wait_until_read(port: int, session: str) -> None:
    """Wait until what the pages read at first is read: a start is not what is measured."""
    ends_at = SYSTEM_CLOCK.monotonic() + _FIRST_SECONDS
    while _NOT_READ in _page(port, session, _PATHS["overview"]):
        if SYSTEM_CLOCK.monotonic() > ends_at:
            raise Failed(f"the ledger was not read within {_FIRST_SECONDS:g} s")
        SYSTEM_CLOCK.sleep(0.5)


def _read_on(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def _paints(port: int, session: str, path: str) -> Iterator[float]:
    """Yield how long whole pages took, in ms."""
    for number in range(_PAINTS + 1):
        began = SYSTEM_CLOCK.monotonic()
        _page(port, session, path)
        if number:
            yield (SYSTEM_CLOCK.monotonic() - began) * 1e3


def _page(port: int, session: str, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(_request(path, session, b"Connection: close\r\n"))
        answer = b""
        while part := connection.recv(262_144):
            answer += part
    if b" 200 " not in answer.split(b"\r\n", 1)[0]:
        raise Failed(f"{path}: {answer[:300]!r}")
    return answer


def _request(path: str, session: str, more: bytes = b"") -> bytes:
    cookie = f"Cookie: sessionid={session}\r\n".encode()
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + cookie + more + b"\r\n"


def _log_in(run: Measurement) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", _LOG_IN],
        cwd=ROOT,
        env=run.environment() | gateway_environment(run),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"session=(\w+)", done.stdout)
    if found is None:
        raise Failed(f"nobody can log in: {done.stderr[-400:]}")
    return found[1]
