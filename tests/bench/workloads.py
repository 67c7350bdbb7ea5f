"""W1 to W6 and EVENTS: what every message system does, measured the same way for all."""

from typing import Any, Final

from messaging.clock import SYSTEM_CLOCK
from tests.bench import usage
from tests.bench.arithmetic import (
    Outcome,
    Record,
    distinct,
    events_rate,
    first_ns,
    latest_ms,
    rate,
    shortfall,
    tail,
)
from tests.bench.counts import Counts
from tests.bench.ledger import Ledger
from tests.bench.measurement import Failed, Measurement
from tests.bench.peers.protocol import SERVICES

#: Sent before anything paced is timed: connections, caches and adaptive polls.
_WARM_MESSAGES: Final = 10
_WARM_RATE: Final = 20.0
_PACE: Final = 100.0
_EVENT_PACE: Final = 50.0
_CALLERS: Final = 8
#: An event is handled five times, on as many cores as one message is.
_EVENT_PATIENCE: Final = 3.0


def backlog(run: Measurement, variant: str, counts: Counts) -> Outcome:
    """W1, EVENTS and W5: publish while nobody consumes, then start a worker.

    With durability the bus is not done when all is handled: it also has that on record at the
    sender.
    """
    ledger = Ledger(run.database) if run.is_durable and run.contestant.is_bus else None
    sent = run.drive("publish", counts.messages)
    (worker,) = run.start(variant)
    already = len(run.records(0))
    cpu = usage.cpu_seconds(worker.process.pid)
    records = run.records(sent["n"])
    values = {
        "published_s": sent["n"] / sent["secs"],
        "handled_s": rate(records),
        "client_us": sent["cpu_s"] / sent["n"] * 1e6,
    }
    if not records:
        raise Failed("nothing was handled")
    if ledger is not None:
        settled_ns = ledger.wait_settled(run.budget_seconds)
        values["settled_s"] = sent["n"] / ((settled_ns - first_ns(records)) / 1e9)
    spent = usage.cpu_seconds(worker.process.pid) - cpu
    values["worker_us"] = spent / max(1, len(records) - already) * 1e6
    return Outcome(values, shortfall(records, sent["n"], counts.messages))


def paced(run: Measurement, variant: str, counts: Counts) -> Outcome:
    """W2: messages at an even pace to an idle worker, until the handler begins."""
    run.start(variant)
    _warm(run, "publish", 1)
    sent, records = _send(run, "publish", counts.paced, _PACE, 1)
    latencies = [(each.begun_ns - each.sent_ns) / 1e6 for each in records]
    return Outcome(tail(latencies), shortfall(records, sent["n"], counts.paced))


def requests(run: Measurement, variant: str, counts: Counts) -> Outcome:
    """W3: request and reply, by one caller and then by eight."""
    run.start(variant)
    one = run.drive("request", counts.requests)
    many = run.drive("request", counts.requests, callers=_CALLERS)
    values = {
        **tail(one["lat_ms"]),
        "one_s": one["n"] / one["secs"],
        "eight_s": many["n"] / many["secs"],
    }
    fewest = min(one["n"], many["n"])
    cut = "" if fewest == counts.requests else f"{fewest} answered of {counts.requests} planned"
    return Outcome(values, cut)


def broadcasts(run: Measurement, variant: str, counts: Counts) -> Outcome:
    """W4: events to five services, in a burst and then at an even pace."""
    run.start(variant, range(SERVICES))
    _warm(run, "broadcast", SERVICES)
    sent, burst = _send(run, "broadcast", counts.events, 0, SERVICES)
    values = {"events_s": events_rate(burst)}
    cut_short = shortfall(burst, sent["n"] * SERVICES, counts.events * SERVICES)
    if distinct(burst) == sent["n"] * SERVICES:  # else its rest would be in the way
        run.forget()
        _, calm = _send(run, "broadcast", counts.paced_events, _EVENT_PACE, SERVICES)
        values |= tail(latest_ms(calm))
    return Outcome(values, cut_short)


def idle(run: Measurement, variant: str, counts: Counts) -> Outcome:
    """W6: a worker that starts, and then has nothing to do."""
    (worker,) = run.start(variant)
    pid = worker.process.pid
    SYSTEM_CLOCK.sleep(counts.settle_seconds)
    cpu, began = usage.cpu_seconds(pid), SYSTEM_CLOCK.monotonic()
    SYSTEM_CLOCK.sleep(counts.idle_seconds)
    busy = (usage.cpu_seconds(pid) - cpu) / (SYSTEM_CLOCK.monotonic() - began)
    memory = usage.memory(pid)
    return Outcome(
        {
            "start_seconds": worker.start_seconds,
            "rss_mb": memory.rss_mb,
            "pss_mb": memory.pss_mb,
            "idle_percent": busy * 100,
        }
    )


def _warm(run: Measurement, operation: str, services: int) -> None:
    _send(run, operation, _WARM_MESSAGES, _WARM_RATE, services)
    run.forget()


def _send(
    run: Measurement, operation: str, n: int, pace: float, services: int
) -> tuple[dict[str, Any], list[Record]]:
    """Have messages sent, and wait until all services have begun with them."""
    sent = run.drive(operation, n, rate=pace)
    patience = _EVENT_PATIENCE if services > 1 else 1.0
    records = run.records(sent["n"] * services, patience=patience)
    if not records:
        raise Failed("nothing was handled")
    return sent, records
