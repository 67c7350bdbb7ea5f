"""Long-lived processes, started again when they end, as a supervisor does."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from messaging.clock import SYSTEM_CLOCK
from tests.support.processes import Process

#: ``RestartSec`` of the units in docs/deploy.
_RESTART_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended and that nobody had ended."""

    name: str
    at: float
    #: Minus the signal that killed it.
    code: int
    #: The last lines of its log.
    tail: str


class _Kept:
    def __init__(self, start: Callable[[], Process]) -> None:
        self.start = start
        self.process = start()
        self.is_expected_to_end = False


class Supervisor:
    """Everything it starts runs until `stop`, whatever ends it meanwhile."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def start(self, name: str, start: Callable[[], Process]) -> None:
        """Start a process, and keep it running."""
        with self._lock:
            self._kept[name] = _Kept(start)

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._kept)

    def pids(self) -> dict[str, int]:
        """Return the process of each name that runs just now."""
        with self._lock:
            return {
                name: kept.process.pid
                for name, kept in self._kept.items()
                if kept.process.is_running()
            }

    def kill(self, name: str) -> int:
        """Kill -9; it is started again. Return whom."""
        with self._lock:
            kept = self._kept[name]
            kept.is_expected_to_end = True
            pid = kept.process.pid
            kept.process.kill()
        return pid

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal that ends nobody. Return to whom."""
        with self._lock:
            process = self._kept[name].process
            process.signal(number)
        return process.pid

    def let_end(self, name: str, timeout_seconds: float) -> int:
        """Send TERM and wait for the end; it is not started again. Return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        with self._lock:
            process = self._kept.pop(name).process
        if process.is_running():
            process.signal(signal.SIGTERM)
        return process.wait(timeout_seconds)

    def stop(self) -> None:
        """End everything: TERM, and KILL for what takes too long. Idempotent."""
        self._stopped.set()
        self._thread.join()
        with self._lock:
            running = [kept.process for kept in self._kept.values() if kept.process.is_running()]
            for process in running:
                process.signal(signal.SIGCONT)
                process.signal(signal.SIGTERM)
            for process in running:
                process.stop()
            self._kept.clear()

    def _watch(self) -> None:
        since: dict[str, float] = {}
        while not self._stopped.wait(_LOOK_SECONDS):
            with self._lock:
                for name, kept in self._kept.items():
                    if not kept.process.is_running():
                        self._consider(name, kept, since)

    def _consider(self, name: str, kept: _Kept, since: dict[str, float]) -> None:
        if name not in since:
            since[name] = SYSTEM_CLOCK.monotonic()
            if not kept.is_expected_to_end:
                tail = kept.process.log.read_text(errors="replace")[-2000:]
                at = SYSTEM_CLOCK.now()
                self.ended.append(Ended(name, at, kept.process.wait(), tail))
        elif SYSTEM_CLOCK.monotonic() - since[name] > _RESTART_SECONDS:
            del since[name]
            kept.process = kept.start()
            kept.is_expected_to_end = False
