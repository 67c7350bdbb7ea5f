"""Looks at memory and files every few seconds, while everything runs."""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from messaging.clock import SYSTEM_CLOCK
from tests.bench import usage
from tests.soak.world import World

LOOK_SECONDS: Final = 2.0
BROKER: Final = "broker server"
_MB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """One look."""

    at: float
    #: By process: its pid, and the MB it holds.
    memory: dict[str, tuple[int, float]]
    #: MB by file; a folder counts with all that is in it.
    files: dict[str, float]


class Observer:
    """Looks from `start` to `stop`, on a thread of its own."""

    def __init__(self, world: World) -> None:
        self.samples: list[Sample] = []
        self._world = world
        self._record = world.report / "samples.jsonl"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="observer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when nothing is looked at any more. Idempotent."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        with self._record.open("a") as file:
            while not self._stopped.wait(LOOK_SECONDS):
                sample = self._look()
                self.samples.append(sample)
                file.write(json.dumps(asdict(sample)) + "\n")

    def _look(self) -> Sample:
        pids = self._world.supervisor.pids()
        memory = {name: (pid, _rss_mb(pid)) for name, pid in pids.items()}
        if self._world.server is not None and (pid := self._world.server.pid):
            memory[BROKER] = (pid, _session_mb(pid))
        files = {name: size() / _MB for name, size in _sizes(self._world).items()}
        return Sample(
            SYSTEM_CLOCK.now(), {name: each for name, each in memory.items() if each[1]}, files
        )


def _sizes(world: World) -> dict[str, Callable[[], int]]:
    database, broker = world.database, world.broker_path
    sizes = {
        "database": lambda: _size(database),
        "database WAL": lambda: _size(Path(f"{database}-wal")),
        "broker": lambda: _size(broker),
    }
    if world.server is None:
        sizes["broker WAL"] = lambda: _size(Path(f"{broker}-wal"))
    return sizes


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all in a folder; what goes meanwhile counts nothing."""
    try:
        if path.is_dir():
            return sum(_size(each) for each in path.iterdir())
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _session_mb(pid: int) -> float:
    """Return the same of a process and all it started: RabbitMQ's is a child of a script."""
    try:
        return usage.memory(pid).rss_mb
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _rss_mb(pid: int) -> float:
    """Return the memory a process holds; 0 where it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
