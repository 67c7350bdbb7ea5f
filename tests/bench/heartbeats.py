"""W13: the heartbeats of many instances, each of which says what it handled.

The messages are real, their senders are one process (`peers/heart.py`). First the gateway's worker
takes heartbeats that wait for it, as fast as it can; then they come at the pace of so many
instances, and what is looked at is how long ago the registry heard of the one it heard of last.
"""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from messaging import MessageBus, MessagingConfig
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now
from messaging.registration import REGISTRY_SWEEP
from tests.bench import usage
from tests.bench.arithmetic import Outcome
from tests.bench.counts import Counts
from tests.bench.filling import add_instances
from tests.bench.gateway_worker import GATEWAY, begin, command, environment, eventually, read
from tests.bench.measurement import Failed, Measurement
from tests.support.processes import BIN, Process

_HEART: Final = Path(__file__).parent / "peers/heart.py"
_INSTANCES_OF_SERVICE: Final = 10
#: The default of ``heartbeat_seconds``.
_EVERY_SECONDS: Final = 5.0
#: Of the heartbeats that wait, so many are not timed at either end: a worker starts, and ends.
_EDGE: Final = 0.1
_SWEEPS: Final = 3
_LOOK_SECONDS: Final = 0.05


def of_instances(run: Measurement, instances: int, counts: Counts) -> Outcome:
    """W13: what one worker of the gateway can take, and whether it keeps up."""
    _register(run, instances)
    turns = -(-counts.heartbeats // instances)
    sender = _send(run, instances, turns, 0.0)
    if sender.wait(run.budget_seconds):
        raise Failed(sender.log.read_text()[-400:])
    worker = begin(run)
    bus = MessageBus(MessagingConfig(broker_url=run.broker_url, namespace=run.namespace))
    try:
        rate, cpu = _drain(bus, worker, turns * instances)
        oldest, busy = _paced(run, worker, instances, counts.heartbeat_turns)
        _wait_until(bus, worker, 0)  # it may not keep up
    finally:
        bus.close()
    return Outcome(
        {
            "heartbeats_s": rate,
            "cpu_us": cpu * 1e6,
            "busy_percent": busy * 100,
            "oldest_s": oldest,
            "sweep_ms": _sweep(run, worker) * 1e3,
            "peak_mb": usage.peak_mb(worker.pid),
        }
    )


def _register(run: Measurement, instances: int) -> None:
    with closing(sqlite3.connect(run.database)) as db, db:
        for first in range(0, instances, _INSTANCES_OF_SERVICE):
            name = f"s{first // _INSTANCES_OF_SERVICE}"
            add_instances(db, name, [f"{name}-{each}" for each in range(_INSTANCES_OF_SERVICE)])


def _send(run: Measurement, instances: int, turns: int, every_seconds: float) -> Process:
    return run.run(
        str(BIN / "python"),
        str(_HEART),
        run.broker_url,
        run.namespace,
        *map(str, (instances, turns, every_seconds)),
        **environment(run),
    )


def _drain(bus: MessageBus, worker: Process, waiting: int) -> tuple[float, float]:
    """Return how many were taken a second, and the CPU seconds of each."""
    more, began, cpu_before = _wait_until(bus, worker, waiting * (1 - _EDGE))
    less, ended, cpu = _wait_until(bus, worker, waiting * _EDGE)
    if more == less:
        raise Failed("too few heartbeats for a rate")
    return (more - less) / (ended - began), (cpu - cpu_before) / (more - less)


def _wait_until(bus: MessageBus, worker: Process, most: float) -> tuple[int, float, float]:
    """Wait until no more wait; return how many do, when, and the CPU that it took so far."""
    queue = bus.topology.queue_name(GATEWAY)

    def is_short() -> tuple[int, float, float] | None:
        with bus.publisher() as publisher:
            length = publisher.queue_length(queue) or 0
        now = SYSTEM_CLOCK.monotonic()
        return (length, now, usage.cpu_seconds(worker.pid)) if length <= most else None

    return eventually(worker, is_short)


def _paced(run: Measurement, worker: Process, instances: int, turns: int) -> tuple[float, float]:
    """Return for how long no instance was heard of at most, and the share of a core it takes."""
    sender = _send(run, instances, turns, _EVERY_SECONDS)
    begun_at = utc_now()
    eventually(sender, lambda: (_oldest(run) >= begun_at) or None)  # all have come once
    oldest, cpu, began = 0.0, usage.cpu_seconds(worker.pid), SYSTEM_CLOCK.monotonic()
    while sender.is_running():
        oldest = max(oldest, (utc_now() - _oldest(run)).total_seconds())
        SYSTEM_CLOCK.sleep(_LOOK_SECONDS)
    if sender.wait(1):
        raise Failed(sender.log.read_text()[-400:])
    spent = usage.cpu_seconds(worker.pid) - cpu
    return oldest, spent / (SYSTEM_CLOCK.monotonic() - began)


def _oldest(run: Measurement) -> datetime:
    (text,) = read(
        run,
        "SELECT min(last_seen_at) FROM gateway_app_serviceinstance WHERE offers_id IS NOT NULL",
    )
    return datetime.fromisoformat(f"{text}+00:00")


def _sweep(run: Measurement, worker: Process) -> float:
    """Return the CPU seconds of the registry's look for who is silent."""
    before = usage.cpu_seconds(worker.pid)
    query = "SELECT swept_at FROM gateway_app_registrystatus"
    for _ in range(_SWEEPS):
        (swept_at,) = read(run, query)
        command(run, REGISTRY_SWEEP)
        eventually(worker, lambda then=swept_at: read(run, query) != (then,) or None)
    return (usage.cpu_seconds(worker.pid) - before) / _SWEEPS
