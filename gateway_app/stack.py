"""The stack: all processes of the system on this host, started, watched and stopped together."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpx

from gateway_app.process import ManagedProcess, is_asked_again, stop_if_asked
from gateway_app.procfile import ProcfileEntry
from messaging import MessagingError, ServiceCommunicator
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now

#: Seven Python programs on two slow cores start within half of it.
READY_SECONDS: Final = 60.0
#: For handlers in hand to finish. Most processes need one second.
STOP_SECONDS: Final = 10.0
#: Pause between looks at processes and registry: short beside a start, cheap beside its work.
LOOK_SECONDS: Final = 0.1
#: Longest wait for one answer while the system starts; it is asked again.
ANSWER_SECONDS: Final = 2.0


class StackError(Exception):
    """The stack is not what it should be. The text is for people, with the log's last lines."""


class Instance(NamedTuple):
    """How a service's instance is doing."""

    state: str
    last_seen_at: datetime


class Stack:
    """The processes of a Procfile.

    A context manager: on the way out, also by an exception or Ctrl-C, everything it started is
    stopped.

    Args:
        entries: the processes.
        directory: where they run.
        log_dir: holds one log file per process.
        environment: of the processes.
        instances: tells of a service's instances, as far as the registry knows.
        gateway_url: without a slash at the end.
        lock: an open file that the processes inherit; locked while one of them lives.
    """

    def __init__(
        self,
        entries: Sequence[ProcfileEntry],
        *,
        directory: Path,
        log_dir: Path,
        environment: Mapping[str, str],
        instances: Callable[[str], Iterable[Instance]],
        gateway_url: str,
        lock: int | None = None,
    ) -> None:
        log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.processes = {
            entry.name: ManagedProcess(entry, log_dir / f"{entry.name}.log") for entry in entries
        }
        self.gateway_url = gateway_url
        self._directory = directory
        self._environment = environment
        self._instances = instances
        self._inherited_files = () if lock is None else (lock,)
        self._expected: set[str] = set()
        #: Those started again: a fault in what has changed is no fault of the stack.
        self._restarted: set[str] = set()
        self._started_at = utc_now()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def services(self) -> list[str]:
        """The services whose workers belong to the stack, the gateway's own among them."""
        return sorted(name for name, p in self.processes.items() if p.entry.is_worker)

    def start(self, *names: str) -> None:
        """Start these processes, or all."""
        for name in names or self.processes:
            self._expected.add(name)
            self.processes[name].start(self._environment, self._directory, self._inherited_files)
        self._note_pids()

    def check(self) -> None:
        """Make sure that everything that was started still runs.

        Raises:
            StackError: a process died by itself.
            KeyboardInterrupt: somebody has asked to stop.
        """
        stop_if_asked()
        for name in sorted(self._expected):
            process = self.processes[name]
            if not process.is_running and not self._is_fallen(name):
                raise StackError(_with_log(f"{name} ended {_how(process.exit_code)}", process))

    def wait_until_ready(
        self,
        report: Callable[[Sequence[str]], object] = lambda waited_for: None,
        timeout_seconds: float = READY_SECONDS,
    ) -> None:
        """Return when the gateway answers and every service is UP in its registry.

        Args:
            report: called with what is still waited for, each time it becomes less.
            timeout_seconds: the bound of the wait.

        Raises:
            StackError: a process died, or the time is over.
            KeyboardInterrupt: somebody has asked to stop.
        """
        give_up_at = SYSTEM_CLOCK.monotonic() + timeout_seconds
        waiting = self._unready([*self.services, "web"])
        while waiting:
            if SYSTEM_CLOCK.monotonic() > give_up_at:
                text = f"{', '.join(waiting)} not ready after {timeout_seconds:g} s"
                raise StackError(_with_log(text, *(self.processes[name] for name in waiting)))
            SYSTEM_CLOCK.sleep(LOOK_SECONDS)
            stop_if_asked()
            still_waiting = self._unready(waiting)
            if still_waiting != waiting:
                report(still_waiting)
            waiting = still_waiting

    def stop(self, *names: str) -> None:
        """Stop these processes, or all: TERM, and KILL for those that take too long.

        At once when somebody asks a second time.
        """
        processes = [self.processes[name] for name in names or self.processes]
        self._expected.difference_update(process.name for process in processes)
        try:
            for process in processes:
                process.terminate()
            give_up_at = SYSTEM_CLOCK.monotonic() + STOP_SECONDS
            while any(process.is_running for process in processes):
                if is_asked_again() or SYSTEM_CLOCK.monotonic() > give_up_at:
                    break
                SYSTEM_CLOCK.sleep(LOOK_SECONDS)
        finally:  # also after a second Ctrl-C: nothing is left behind
            for process in processes:
                process.kill()

    def restart(self, *names: str) -> None:
        """Stop these processes as `stop` does, and start them again.

        From here on one of them that ends with an error is told by `fallen`, and not by `check`.
        """
        self.stop(*names)
        self.start(*names)
        self._restarted.update(names)

    def fallen(self) -> list[str]:
        """Return those started again that ended with an error by themselves, each once."""
        names = [name for name in sorted(self._expected) if self._is_fallen(name)]
        if names:
            self.stop(*names)
        return names

    def kill(self, *names: str) -> None:
        """Kill these processes with -9, as if they had crashed."""
        self._expected.difference_update(names)
        for name in names:
            self.processes[name].kill()

    def _is_fallen(self, name: str) -> bool:
        return name in self._restarted and (self.processes[name].exit_code or 0) > 0

    def _unready(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if not self._is_ready(name)]

    def _is_ready(self, name: str) -> bool:
        self.check()  # each answer may take its time; a death is told at once
        return self._answers() if name == "web" else self._is_up(name)

    def _note_pids(self) -> None:
        """Write into the lock file whom to stop: this process, or all if it was killed."""
        pids = (os.getpid(), *(process.pid for process in self.processes.values()))
        for lock in self._inherited_files:
            os.ftruncate(lock, 0)
            os.write(lock, " ".join(map(str, pids)).encode())

    def _answers(self) -> bool:
        try:
            url = f"{self.gateway_url}/ready"
            return httpx.get(url, timeout=ANSWER_SECONDS, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def _is_up(self, service: str) -> bool:
        """Return whether an instance is UP that said so after this stack began to start."""
        return any(
            each.state == "UP" and each.last_seen_at >= self._started_at
            for each in self._instances(service)
        )


def instances_by(communicator: ServiceCommunicator) -> Callable[[str], list[Instance]]:
    """Return what asks over the bus, for those who have no database of the registry at hand.

    Where a service has not registered yet the answer is an error, which the flow shows.
    """

    def ask(service: str) -> list[Instance]:
        try:
            entry = communicator.discover(service, timeout=ANSWER_SECONDS, fresh=True)
        except MessagingError:
            return []
        return [
            Instance(each["state"], datetime.fromisoformat(each["last_seen_at"]))
            for each in entry["instances"]
        ]

    return ask


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"by signal {-exit_code}"
    return f"with exit code {exit_code}"


def _with_log(text: str, *processes: ManagedProcess) -> str:
    tails = (f"--- {p.log_file}\n{p.log_tail()}" for p in processes)
    return "\n".join((text, *tails))
