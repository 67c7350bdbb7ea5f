"""One measurement: a folder, a namespace on the broker, processes, and what handlers noted."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway_app.process import held_signals
from messaging.clock import SYSTEM_CLOCK
from tests.bench import servers
from tests.bench.arithmetic import Record
from tests.bench.contestants import Contestant
from tests.bench.peers.protocol import RECORD
from tests.support.installation import ROOT
from tests.support.processes import Process

#: Celery on two busy cores takes seconds to start, five of them more.
READY_SECONDS: Final = 40.0
#: Beyond its budget a client gets this long to start, connect and close.
CLIENT_SECONDS: Final = 45.0
#: When no handler began for so long, the rest is not waited for.
SILENCE_SECONDS: Final = 8.0
_POLL_SECONDS: Final = 0.005
#: What a project's own environment must not change.
_FOREIGN: Final = ("MESSAGING_", "DJANGO_", "CELERY_", "DATABASE_URL", "BROKER_URL", "BENCH_")
_numbers = itertools.count(1)


class Failed(Exception):
    """A contestant did not do what it was started for; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A started worker that consumes."""

    process: Process
    #: From its start until it consumed.
    start_seconds: float


class Measurement:
    """Everything that one measurement makes, and its removal. A context manager.

    Args:
        contestant: who is measured.
        scratch: where its folder is made.
        budget_seconds: longest time for one step.
        database: what the database of a bus is a copy of.
        durable: whether it gives the strongest durability it has.
        more: added to the environment of its processes.
    """

    def __init__(
        self,
        contestant: Contestant,
        scratch: Path,
        *,
        budget_seconds: float,
        database: Path,
        durable: bool = False,
        more: dict[str, str] | None = None,
    ) -> None:
        self.contestant = contestant
        self.budget_seconds = budget_seconds
        self.namespace = f"b{os.getpid()}x{next(_numbers)}"
        self.folder = Path(tempfile.mkdtemp(prefix="bench-", dir=scratch))
        self.log = self.folder / "log"
        self.log.touch()
        self._processes: list[Process] = []
        self.is_durable = durable
        self._redis_url = servers.SHARED_REDIS_URL
        self._more = more or {}
        self._original = database

    def __enter__(self) -> "Measurement":
        try:
            if self.contestant.is_bus:
                shutil.copy(self._original, self.database)
            if self.contestant.server == "redis" and servers.has_own_redis():
                self._start_redis()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def broker_url(self) -> str:
        """The broker of a bus, as its settings say it."""
        return {
            "amqp": servers.AMQP_URL,
            "redis": self._redis_url,
            "": f"sqlite:///{self.folder / 'broker.sqlite3'}",
        }[self.contestant.server]

    @property
    def database(self) -> Path:
        """The database of a bus."""
        return self.folder / "gateway.sqlite3"

    def start(self, variant: str, services: Sequence[int] = (0,), **env: str) -> list[Worker]:
        """Start one worker for each service and return them once all consume.

        Raises:
            Failed: one ended, or was not ready in time.
        """
        began, processes, flags = [], [], []
        for service in services:
            flags.append(self.folder / f"ready{service}")
            flags[-1].unlink(missing_ok=True)
            began.append(SYSTEM_CLOCK.monotonic())
            processes.append(
                self.run(
                    *self.contestant.command,
                    "worker",
                    str(service),
                    variant,
                    BENCH_SERVICE=str(service),
                    BENCH_READY=str(flags[-1]),
                    **env,
                )
            )
        self._wait_ready(processes, flags)
        return [
            Worker(process, int(flag.read_text()) / 1e9 - start)
            for process, flag, start in zip(processes, flags, began, strict=True)
        ]

    def drive(
        self, operation: str, n: int, *, rate: float = 0, callers: int = 1, **env: str
    ) -> dict[str, Any]:
        """Have a client send; return what it reports, see `peers.protocol`.

        Raises:
            Failed: it reported nothing, or not in time.
        """
        task = {"n": n, "rate": rate, "callers": callers, "budget_s": self.budget_seconds}
        client = self.run(*self.contestant.command, "drive", operation, json.dumps(task), **env)
        try:
            client.wait(self.budget_seconds + CLIENT_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"the client hung in {operation}: {_tail(client.log)}") from None
        finally:
            self.stop(client)
        # Logging shares the file, and may come after the report.
        for line in reversed(client.log.read_text(errors="replace").splitlines()):
            if line.startswith('{"n"'):
                report: dict[str, Any] = json.loads(line)
                return report
        raise Failed(f"the client failed in {operation}: {_tail(client.log)}")

    def records(self, count: int, *, patience: float = 1.0) -> list[Record]:
        """Wait until so many handlers have begun; return those that have.

        It returns fewer after the budget (times patience), or when none began for a while.
        """
        ends_at = SYSTEM_CLOCK.monotonic() + self.budget_seconds * patience
        known, silent_since = -1, SYSTEM_CLOCK.monotonic()
        while (have := self._noted()) < count:
            now = SYSTEM_CLOCK.monotonic()
            if have != known:
                known, silent_since = have, now
            if now > ends_at or now - silent_since > SILENCE_SECONDS:
                break
            SYSTEM_CLOCK.sleep(_POLL_SECONDS)
        whole = self.log.read_bytes()[: self._noted() * RECORD.size]
        return [Record(*values) for values in RECORD.iter_unpack(whole)]

    def forget(self) -> None:
        """Empty the log: what follows is counted from zero."""
        os.truncate(self.log, 0)

    def run(self, *command: str, **env: str) -> Process:
        """Start any program in a session of its own; it is ended with the measurement."""
        log = self.folder / f"output{len(list(self.folder.glob('output*')))}"
        with held_signals():
            process = Process(*command, env={**self.environment(), **env}, log=log)
            self._processes.append(process)
        return process

    def stop(self, process: Process) -> None:
        """End a process at once, with all that it started."""
        if process in self._processes:
            process.kill()
            self._processes.remove(process)

    def close(self) -> None:
        """End every process, and remove folder, queues and keys."""
        for process in reversed(self._processes[:]):  # a private Redis came first and goes last
            self.stop(process)
        try:
            if self.contestant.server == "amqp":
                servers.remove_from_rabbitmq(self.namespace, self.database)
            elif self.contestant.server == "redis" and not servers.has_own_redis():
                servers.remove_from_redis(self.namespace)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start_redis(self) -> None:
        port = servers.free_port()
        command = servers.redis_command(port, self.folder, durable=self.is_durable)
        process = self.run(*command)
        ends_at = SYSTEM_CLOCK.monotonic() + READY_SECONDS
        while not servers.answers(port):
            if SYSTEM_CLOCK.monotonic() > ends_at or not process.is_running():
                raise Failed(f"redis-server did not start: {_tail(process.log)}")
            SYSTEM_CLOCK.sleep(_POLL_SECONDS)
        self._redis_url = f"redis://127.0.0.1:{port}/0"

    def environment(self) -> dict[str, str]:
        """Return what every process of this measurement has in its environment."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        return {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "BENCH_NS": self.namespace,
            "BENCH_DIR": str(self.folder),
            "BENCH_LOG": str(self.log),
            "BENCH_DURABLE": str(int(self.is_durable)),
            "BENCH_AMQP": servers.AMQP_URL,
            "BENCH_REDIS": self._redis_url,
            **self._more,
        }

    def _noted(self) -> int:
        return self.log.stat().st_size // RECORD.size

    def _wait_ready(self, processes: Sequence[Process], flags: Sequence[Path]) -> None:
        ends_at = SYSTEM_CLOCK.monotonic() + READY_SECONDS
        while not all(flag.exists() for flag in flags):
            ended = [process for process in processes if not process.is_running()]
            if ended or SYSTEM_CLOCK.monotonic() > ends_at:
                last_words = _tail((ended or processes)[0].log)
                raise Failed(f"a worker did not become ready: {last_words}")
            SYSTEM_CLOCK.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def shared_folder(scratch: Path) -> Iterator[Path]:
    """Lend a folder that several measurements share, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-shared-", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-3:])[-400:]
