"""What a peer is: a program that consumes, or sends and measures, as it is told.

    PROGRAM worker SERVICE VARIANT    consume as service 0 to 4 until SIGTERM
    PROGRAM drive OPERATION JSON      send, and print one line of JSON

VARIANT is c1 (one message at a time) or c4 (four threads); OPERATION is publish, broadcast or
request. A peer reads its environment: BENCH_NS (before every queue name), BENCH_DIR (a folder of
its own), BENCH_LOG, BENCH_READY (a file to make once it consumes), BENCH_SERVICE, BENCH_DURABLE
("1": the strongest durability it offers), BENCH_AMQP and BENCH_REDIS. A handler appends one
record of 32 bytes to BENCH_LOG: service, number, sent and begun (CLOCK_MONOTONIC in ns), as
little-endian u64. Imports nothing but the standard library: what a peer loads is measured too.
"""

import json
import os
import struct
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

RECORD: Final = struct.Struct("<QQQQ")
SERVICES: Final = 5
#: Sent before the first request is timed: connections and reply queues are in place then.
FIRST: Final = 10**9


class Peer(Protocol):
    """One message system. Operations block until the system says that it has the message."""

    def work(self, service: int, variant: str) -> None:
        """Consume until SIGTERM; call `ready` once and `handled` for each message."""

    def open(self, operation: str) -> None:
        """Connect, so that the first message is as fast as the others."""

    def publish(self, message: Mapping[str, Any]) -> None:
        """Send to service 0."""

    def broadcast(self, message: Mapping[str, Any]) -> None:
        """Tell services 0 to 4."""

    def request(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask service 0 and return its answer, the message itself."""

    def close(self) -> None:
        """Close connections; on return nothing that was accepted is in this process alone."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a client is told to do: ``n`` messages by some callers, at a pace, for so long."""

    n: int
    #: Messages a second; 0: as fast as it goes.
    rate: float = 0
    callers: int = 1
    budget_s: float = 30


def message(number: int) -> dict[str, Any]:
    """Return a message of about 200 bytes that says when it was made."""
    return {
        "seq": number,
        "sent_ns": time.monotonic_ns(),
        "type": "order.paid",
        "id": f"{number:036d}",
        "data": "x" * 90,
    }


class Log:
    """Notes that handlers began; one write for each, whoever the peer is."""

    def __init__(self, path: str, service: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._service = service

    def handled(self, said: Mapping[str, Any]) -> None:
        """Append one record."""
        now = time.monotonic_ns()
        os.write(self._file, RECORD.pack(self._service, said["seq"], said["sent_ns"], now))


def ready() -> None:
    """Say that this worker consumes."""
    flag = Path(os.environ["BENCH_READY"])
    part = flag.with_suffix(".part")
    part.write_text(str(time.monotonic_ns()))
    part.rename(flag)


def main(peer: Peer, arguments: list[str]) -> None:
    """Do what the arguments say."""
    if arguments[0] == "worker":
        peer.work(int(arguments[1]), arguments[2])
        return
    print(json.dumps(drive(peer, arguments[1], Task(**json.loads(arguments[2])))), flush=True)
    peer.close()
    os._exit(0)  # what a library does at exit is not measured, and must not hang


def drive(peer: Peer, operation: str, task: Task) -> dict[str, Any]:
    """Send what the task says; return counts and times."""
    peer.open(operation)
    if operation == "request":
        peer.request(message(FIRST))
    cpu, began = time.process_time(), time.monotonic()
    if task.callers == 1:
        parts = [_call(peer, operation, task, began, 0)]
    else:
        with ThreadPoolExecutor(task.callers) as pool:
            parts = list(
                pool.map(
                    lambda caller: _call(peer, operation, task, began, caller),
                    range(task.callers),
                )
            )
    seconds, spent = time.monotonic() - began, time.process_time() - cpu
    latencies = [each for part in parts for each in part[1]]
    count = sum(part[0] for part in parts)
    return {"n": count, "secs": seconds, "cpu_s": spent, "lat_ms": latencies}


def _call(
    peer: Peer, operation: str, task: Task, began: float, caller: int
) -> tuple[int, list[float]]:
    """Be one of the callers: every ``callers``-th message. Return how many, and round trips."""
    call: Callable[[Mapping[str, Any]], Any] = getattr(peer, operation)
    latencies, count = [], 0
    for number in range(caller, task.n, task.callers):
        if task.rate:
            # No clock of the bus: this program is the same for all.
            time.sleep(max(0.0, began + number / task.rate - time.monotonic()))  # noqa: TID251
        said = message(number)
        answer = call(said)
        count += 1
        if operation == "request":
            if answer["seq"] != number:
                raise SystemExit(f"asked {number}, answered {answer}")
            latencies.append((time.monotonic_ns() - said["sent_ns"]) / 1e6)
        if time.monotonic() - began > task.budget_s:
            break
    return count, latencies


if __name__ == "__main__":
    sys.exit("a peer's program calls `main`")
