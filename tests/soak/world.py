"""What a soak runs on: an installation, its broker, its processes, all in folders of their own."""

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import httpx

from gateway_app.preconditions import free_port
from tests.soak.clocks import Clocks
from tests.soak.names import JUMP_SECONDS, SERVICES, WORKERS_EACH, effects_table
from tests.soak.records import Sending, read
from tests.soak.servers import server_for
from tests.soak.supervising import Supervisor
from tests.support.brokers import BROKERS
from tests.support.forked import ForkedProcess, run
from tests.support.installation import Installation
from tests.support.outage import Proxy
from tests.support.processes import BIN, Process
from tests.support.waiting import eventually

#: Shorter than in life, so that a fault and its end fit into a minute.
SETTINGS: Final = {
    "heartbeat_seconds": 1.0,
    "suspect_seconds": 4.0,
    "down_seconds": 8.0,
    "health_check_seconds": 5.0,
    "receipt_timeout_seconds": 3.0,
    "lease_seconds": 8.0,
    "redis_visibility_timeout_seconds": 20,
}
#: As in production: with DEBUG on, Django keeps the last 9,000 queries of each thread.
VARIABLES: Final = {
    "DJANGO_DEBUG": "0",
    "DJANGO_TLS": "0",
    "DJANGO_SECRET_KEY": "of a soak",
    "MESSAGING_HTTP_AUTH": "none",
    "MESSAGING_UPSTREAM_NETWORKS": "127.0.0.0/8",
}
#: On two idle cores everything starts within a tenth of it.
_READY_SECONDS: Final = 180.0
#: Holds the largest database of an hour several times; filling it takes as much memory.
_DISK_MB: Final = 256
_DISK_MB_A_MINUTE: Final = 5
WEB: Final = "web"
GATEWAY_WORKER: Final = "api-gateway"
BEAT: Final = "beat"
TRAFFIC: Final = "traffic"


class World:
    """Everything of one soak; on the way out all of it ends.

    Args:
        broker: ``sqlite``, ``redis`` or ``amqp``.
        report: the folder for logs and whatever is to stay.
        minutes: how long it is going to be; the limited disk is as large as that needs.
        has_clocks: whether each process is to have a wall clock of its own, where that is
            possible. Such a process cannot be forked from one that has the libraries loaded.
    """

    def __init__(
        self, broker: str, report: Path, minutes: float, *, has_clocks: bool = False
    ) -> None:
        self.broker, self.report = broker, report
        #: Whether the gateway's processes and the first worker of each service are left alone by
        #: faults that hit one process: they live on, so that it is seen whether they grow.
        self.spares_elders = False
        self.logs = report / "log"
        self.logs.mkdir()
        self._megabytes = int(_DISK_MB + _DISK_MB_A_MINUTE * minutes)
        self._has_clocks = has_clocks
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            folder = Path(tempfile.mkdtemp(prefix="bus-soak-"))
            ends.callback(shutil.rmtree, folder, ignore_errors=True)
            #: Of the installation's processes; the sender has the host's, which is right.
            self.clocks = Clocks(folder / "clocks")
            self.var_dir = folder / "var"
            self.var_dir.mkdir(mode=0o700)
            #: Whether VAR_DIR is a disk of its own that can be filled.
            self.has_own_disk = _mount(self.var_dir, self._megabytes)
            if self.has_own_disk:
                ends.callback(subprocess.run, ["umount", "--lazy", str(self.var_dir)], check=True)
            self.server = server_for(self.broker, folder / "server", self.logs)
            self.installation = self._install()
            #: Between processes and server; None for the embedded broker.
            self.proxy = None
            if self.server is not None:
                ends.callback(self.server.close)
                self.server.start()
                self.proxy = Proxy("127.0.0.1", self.server.port)
                ends.callback(self.proxy.cut)
                self.installation.url = self.server.url(self.proxy.port)
            self.supervisor = Supervisor()
            ends.callback(self.supervisor.stop)
            self._start()
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def database(self) -> Path:
        return self.var_dir / "gateway.sqlite3"

    @property
    def broker_path(self) -> Path:
        """Where the broker keeps what it has: a file, or the folder of its server."""
        return self.server.folder if self.server else self.var_dir / "broker.sqlite3"

    def workers(self) -> list[str]:
        """Return the services' processes that a fault may hit."""
        spared = f"-{1 if self.spares_elders else 0}"
        names = self.supervisor.names()
        return [each for each in names if each.startswith(SERVICES) and not each.endswith(spared)]

    def put_clocks_ahead(self, seconds: int = JUMP_SECONDS) -> None:
        """Have the clock of every process of the installation so far ahead; 0: right again."""
        for name in self.supervisor.names():
            if name != TRAFFIC:
                self.clocks.set(name, seconds)

    def begin_traffic(self, rate: float) -> None:
        self.supervisor.start(TRAFFIC, lambda: self.start_traffic(TRAFFIC, SOAK_RATE=str(rate)))

    def start_traffic(self, name: str, **env: str) -> Process:
        """Start a process that sends; it writes into a notebook of its own."""
        return self._run(
            name,
            *("python", "-m", "tests.soak.traffic"),
            SOAK_NOTEBOOK=str(self.report / f"{name}.sent"),
            SOAK_GATEWAY=self.gateway_url,
            **env,
        )

    def sendings(self) -> list[Sending]:
        return read(sorted(self.report.glob("*.sent")))

    def _install(self) -> Installation:
        fresh = self.report / "fresh"
        fresh.mkdir()
        environment = {**os.environ, "VAR_DIR": str(fresh), "DATABASE_URL": ""}
        environment["DJANGO_SETTINGS_MODULE"] = "gateway_app.settings"
        migrating = ("python", "manage.py", "migrate", "--verbosity=0")
        run(*migrating, env=environment, folder=fresh).check_returncode()
        installation = Installation(BROKERS[self.broker], self.var_dir, fresh / "gateway.sqlite3")
        shutil.rmtree(fresh)
        del installation.settings["namespace"]
        installation.settings |= SETTINGS
        installation.variables |= VARIABLES
        database = installation.database()
        for service in SERVICES:
            database.execute(
                f"CREATE TABLE {effects_table(service)}"
                " (message_id TEXT, number TEXT, attempt INT, at REAL)"
            )
        database.close()
        return installation

    def _start(self) -> None:
        port = free_port()
        self.gateway_url = f"http://127.0.0.1:{port}"
        server = ("uvicorn", "gateway_app.asgi:application", "--port", str(port))
        self._keep(WEB, *server, "--timeout-graceful-shutdown", "5", "--no-access-log")
        self._keep(GATEWAY_WORKER, "celery", "-A", "gateway_app", "worker")
        self._keep(BEAT, "celery", "-A", "gateway_app", "beat")
        for service in SERVICES:
            for number in range(WORKERS_EACH):
                command = ("celery", "-A", "tests.soak.service", "worker")
                self._keep(f"{service}-{number + 1}", *command, SOAK_SERVICE=service)
        eventually(self._is_ready, _READY_SECONDS, "all services and routes")

    def _is_ready(self) -> bool:
        database = self.installation.database()
        try:
            (up,) = database.execute(
                "SELECT count(*) FROM gateway_app_serviceinstance i"
                " JOIN gateway_app_service s ON s.id = i.service_id"
                f" WHERE i.state = 'UP' AND s.name IN ({','.join('?' * len(SERVICES))})",
                SERVICES,
            ).fetchone()
        finally:
            database.close()
        return up >= len(SERVICES) * WORKERS_EACH and all(map(self._is_routed, SERVICES))

    def _is_routed(self, service: str) -> bool:
        try:
            url = f"{self.gateway_url}/api/{service}/echo"
            return httpx.post(url, json={}, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def _keep(self, name: str, *command: str, **env: str) -> None:
        clock = self.clocks.environment(name) if self._has_clocks else {}
        run = self._run_preloaded if clock else self._run
        self.supervisor.start(name, lambda: run(name, *command, **env, **clock))

    def _run_preloaded(self, name: str, program: str, *arguments: str, **env: str) -> Process:
        # A library is preloaded when a program begins; a forked one has begun long before.
        return Process(
            *(str(BIN / program), *arguments),
            env=self.installation.environment(**env),
            log=self.logs / f"{name}.log",
        )

    def _run(self, name: str, *command: str, **env: str) -> Process:
        # Logs are elsewhere than what the installation keeps: its disk may be full.
        return ForkedProcess(
            *command, env=self.installation.environment(**env), log=self.logs / f"{name}.log"
        )


def _mount(folder: Path, megabytes: int) -> bool:
    """Make the folder a disk of limited size; return whether this user may."""
    options = f"size={megabytes}m,mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
