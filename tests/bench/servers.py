"""The servers of a run: which are there, one Redis for each measurement, and what is removed."""

import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kombu import Connection

from tests.bench.peers.protocol import SERVICES

AMQP_URL: Final = os.environ.get("BENCH_AMQP", "amqp://guest:guest@127.0.0.1:5672//")
#: Used as it is, by measurements in turn, where there is no redis-server to start.
SHARED_REDIS_URL: Final = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/13")

#: Every name that a peer's processes go by on the broker.
_NAMES: Final = (*(f"svc{n}" for n in range(SERVICES)), "client", "nobody", "api-gateway")
_EXCHANGES: Final = (
    "{}.events",
    "{}.bus.events",
    "{}.bus.services",
    "{}.bus.celeryev",
    "{}.bus.control.pidbox",
    "reply.{}.bus.control.pidbox",
)


def missing() -> dict[str, str]:
    """Return the servers that are not there, each with what was tried."""
    found = {}
    if not _answers(AMQP_URL, 5672):
        found["amqp"] = f"no RabbitMQ at {_place(AMQP_URL)} (BENCH_AMQP)"
    if not has_own_redis() and not _answers(SHARED_REDIS_URL, 6379):
        found["redis"] = f"no redis-server to start, and none at {_place(SHARED_REDIS_URL)}"
    return found


def has_own_redis() -> bool:
    """Return whether a measurement gets a Redis of its own."""
    return shutil.which("redis-server") is not None


def redis_command(port: int, folder: Path, *, durable: bool) -> list[str]:
    """Return what starts a Redis that keeps nothing, or syncs every write if it is durable."""
    keeps = ["--appendonly", "yes", "--appendfsync", "always"] if durable else []
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    return ["redis-server", *where, "--save", "", *keeps]


def free_port() -> int:
    """Return a port of this host that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Return whether somebody listens on a port of this host."""
    return _answers(f"tcp://127.0.0.1:{port}", port)


def remove_from_rabbitmq(namespace: str, database: Path) -> None:
    """Delete the queues and exchanges of a measurement.

    Args:
        namespace: in front of their names.
        database: of the bus, which knows the name of its marker queue; need not be there.
    """
    with Connection(AMQP_URL, connect_timeout=4) as connection:
        channel = connection.default_channel
        for name in _queues(namespace, database):
            channel.queue_delete(name)
        for name in _EXCHANGES:
            channel.exchange_delete(name.format(namespace))


def remove_from_redis(namespace: str) -> None:
    """Delete the keys of a measurement from a Redis that outlives it."""
    with Connection(SHARED_REDIS_URL) as connection:
        client = connection.default_channel.client
        for key in client.scan_iter(f"*{namespace}*"):
            client.delete(key)


def _queues(namespace: str, database: Path) -> Iterator[str]:
    for name in _NAMES:
        yield f"{namespace}.{name}"
        yield f"{namespace}.{name}.custody"
    if database.exists():
        with sqlite3.connect(database) as db:
            for (epoch,) in db.execute("SELECT epoch FROM messaging_busstate"):
                yield f"{namespace}.bus.epoch.{epoch}"


def _answers(url: str, default_port: int) -> bool:
    parts = urlsplit(url)
    try:
        address = parts.hostname or "127.0.0.1", parts.port or default_port
        socket.create_connection(address, 1).close()
    except OSError:
        return False
    return True


def _place(url: str) -> str:
    """Return a URL without what is secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"
