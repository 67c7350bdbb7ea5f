"""Brokers that belong to one soak, so that they can be killed, restarted and emptied."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import redis

from gateway_app.preconditions import free_port
from tests.support.processes import Process
from tests.support.waiting import eventually

#: Debian's program of this name becomes another user; this is what it runs.
_RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_SECONDS: Final = 60.0


class Server(Protocol):
    """A broker server that runs from `start` to `stop` or `kill`, and keeps what it has then."""

    #: Where it listens.
    port: int
    #: Where it keeps what it has.
    folder: Path

    @property
    def pid(self) -> int | None:
        """Return whose memory is its; None while it does not run."""

    def url(self, port: int) -> str:
        """Return its URL as seen through a port of this host."""

    def start(self) -> None:
        """Start it; on return it answers."""

    def stop(self) -> None:
        """End it as a supervisor does."""

    def kill(self) -> None:
        """Kill -9."""

    def wipe(self) -> None:
        """Have it lose everything; on return it answers again."""

    def close(self) -> None:
        """End it with all that belongs to it."""


class _OneProcess:
    """What the two servers have in common: a process, a port and a folder."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder, self.logs = folder, logs
        self.port = free_port()
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.is_running() else None

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        self.kill()

    def _begin(self, *command: str, env: dict[str, str]) -> None:
        self._process = process = Process(*command, env=env, log=self.logs / "broker.log")
        eventually(
            lambda: self._answers() or not process.is_running(), _START_SECONDS, "the broker"
        )
        if not process.is_running():
            raise RuntimeError(process.log.read_text()[-2000:])

    def _answers(self) -> bool:
        raise NotImplementedError


class RedisServer(_OneProcess):
    """A Redis that keeps what it has in an append-only file."""

    def url(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"

    def start(self) -> None:
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        keeps = ("--appendonly", "yes", "--save", "")
        self._begin("redis-server", *where, *keeps, env=dict(os.environ))

    def wipe(self) -> None:
        with self._client() as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False  # not yet; or it loads what it had

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)


class RabbitServer(_OneProcess):
    """A RabbitMQ node of its own: other name, ports, folders and port mapper than any other."""

    def __init__(self, folder: Path, logs: Path) -> None:
        super().__init__(folder, logs)
        self._epmd_port, self._distribution_port = free_port(), free_port()
        self._epmd: Process | None = None
        (folder / "plugins").write_text("[].\n")
        (folder / "environment").write_text("")

    def url(self, port: int) -> str:
        return f"amqp://guest:guest@127.0.0.1:{port}//"

    def start(self) -> None:
        if self._epmd is None:
            # Else the node starts one, which outlives it.
            where = ("-address", "127.0.0.1", "-port", str(self._epmd_port))
            self._epmd = Process("epmd", *where, env=dict(os.environ), log=self.logs / "epmd.log")
            eventually(lambda: _listens(self._epmd_port), 10, "epmd")
        self._begin(str(_RABBITMQ), env=self._environment())

    def wipe(self) -> None:
        """Its definitions go as well, as those of a node whose disk is lost."""
        self.kill()
        shutil.rmtree(self.folder / "mnesia")
        self.start()

    def close(self) -> None:
        super().close()
        if self._epmd is not None:
            self._epmd.kill()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(self.logs),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_NODENAME": f"soak{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }

    def _answers(self) -> bool:
        return _listens(self.port)


def server_for(broker: str, folder: Path, logs: Path) -> Server | None:
    """Return a server that does not run yet; None for the embedded broker, which has none.

    Raises:
        RuntimeError: its program is not installed.
    """
    if broker == "sqlite":
        return None
    program, make = _SERVERS[broker]
    if shutil.which(program) is None:
        raise RuntimeError(f"{program} is not installed")
    folder.mkdir()
    return make(folder, logs)


_SERVERS: Final[dict[str, tuple[str, Callable[[Path, Path], Server]]]] = {
    "redis": ("redis-server", RedisServer),
    "amqp": (str(_RABBITMQ), RabbitServer),
}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
