"""W7 to W9: what stays the same for the bus, whatever else there is. Costs, so small is good."""

import shutil
from pathlib import Path
from typing import Final

from tests.bench.arithmetic import Outcome, events_rate, first_ns, percentile, rate, shortfall
from tests.bench.counts import Counts
from tests.bench.filling import add_old_rows, copy_waiting_message, register_services
from tests.bench.ledger import Ledger
from tests.bench.measurement import Failed, Measurement
from tests.bench.peers.protocol import SERVICES

_POOL: Final = "c4"


def with_backlog(run: Measurement, waiting: int, counts: Counts) -> Outcome:
    """W7: publish to, and handle from, a queue in which so many messages wait."""
    run.drive("publish", 1)
    copy_waiting_message(run, waiting - 1)
    sent = run.drive("publish", counts.beside)
    run.start(_POOL)
    records = run.records(counts.beside)
    cut_short = ""
    if len(records) < counts.beside:
        cut_short = f"{len(records)} handled of {counts.beside} planned"
    return Outcome(
        {
            "publish_us": sent["secs"] / sent["n"] * 1e6,
            "handle_us": _microseconds(rate(records, counts.beside)),
        },
        cut_short,
    )


def with_old_rows(run: Measurement, counts: Counts) -> Outcome:
    """W8: NORMAL and CRITICAL messages in a database as old as it is."""
    sent = run.drive("publish", counts.beside)
    (worker,) = run.start(_POOL)
    records = run.records(sent["n"])
    cut_short = shortfall(records, sent["n"], counts.beside)
    values = {
        "publish_us": sent["secs"] / sent["n"] * 1e6,
        "handle_us": _microseconds(rate(records)),
    }
    run.stop(worker.process)
    run.forget()
    ledger = Ledger(run.database)
    sent = run.drive("publish", counts.beside, BENCH_DURABLE="1")
    run.start(_POOL, BENCH_DURABLE="1")
    records = run.records(sent["n"])
    cut_short = cut_short or shortfall(records, sent["n"], counts.beside)
    if not records:
        raise Failed("no CRITICAL message was handled")
    settled_ns = ledger.wait_settled(run.budget_seconds)
    values["accept_us"] = sent["secs"] / sent["n"] * 1e6
    values["settle_us"] = (settled_ns - first_ns(records)) / sent["n"] / 1e3
    return Outcome(values, cut_short)


def with_services(run: Measurement, registered: int, counts: Counts) -> Outcome:
    """W9: publish, request and broadcast where so many services are registered."""
    register_services(run, registered)
    sent = run.drive("publish", counts.beside)
    run.start("c1", range(SERVICES))
    run.records(sent["n"])
    run.forget()
    asked = run.drive("request", counts.beside // 4)
    told = run.drive("broadcast", counts.beside // 4)
    records = run.records(told["n"] * SERVICES, patience=3)
    if not records:
        raise Failed("no event was handled")
    return Outcome(
        {
            "publish_us": sent["secs"] / sent["n"] * 1e6,
            "request_p50_us": percentile(asked["lat_ms"], 50) * 1e3,
            "broadcast_us": _microseconds(events_rate(records)),
        },
        shortfall(records, told["n"] * SERVICES, counts.beside // 4 * SERVICES),
    )


def aged_database(empty: Path, folder: Path, rows: int) -> Path:
    """Return a copy of a database, in that folder, that has so many old rows; made once."""
    aged = folder / "aged.sqlite3"
    if not aged.exists():
        part = folder / "aged.part"
        shutil.copy(empty, part)
        add_old_rows(part, rows)
        part.rename(aged)
    return aged


def _microseconds(rate_s: float) -> float:
    if not rate_s:
        raise Failed("too few messages were handled for a rate")
    return 1e6 / rate_s
