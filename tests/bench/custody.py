"""What custody costs: CRITICAL against NORMAL, and a database full of old rows against none.

    python -m tests.bench.custody [--messages 1000] [--old 1000000] [--rounds 3]

One service with an empty handler on the embedded broker. Ratios are formed inside one run.
"""

import argparse
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from tests.bench.round_trip import migrated
from tests.support.brokers import BROKERS
from tests.support.installation import ROOT, Installation
from tests.support.waiting import eventually

SEND = """
import sys, django
django.setup()
from time import perf_counter
from messaging import ServiceCommunicator
communicator = ServiceCommunicator("tester")
count, priority = int(sys.argv[1]), sys.argv[2]
communicator.send_to_service("counter", "count.plain", {}, priority=priority)
communicator.bus.dispatch.flush(60)
began = perf_counter()
for _ in range(count):
    communicator.send_to_service("counter", "count.plain", {}, priority=priority)
accepted = perf_counter()
communicator.bus.dispatch.flush(60)
print(count / (accepted - began), count / (perf_counter() - began))
communicator.close()
"""


def rates(installation: Installation, priority: str, count: int) -> tuple[float, float, float]:
    """Return messages a second: accepted, published, handled."""
    sent = subprocess.run(
        [sys.executable, "-c", SEND, str(count), priority],
        cwd=ROOT,
        env=installation.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    accepted, published = map(float, sent.stdout.split())
    done = installation.folder / "done"
    done.unlink(missing_ok=True)
    worker = installation.start(
        "counter",
        "celery",
        "-A",
        "tests.bench.plain_service",
        "worker",
        BENCH_COUNT=str(count + 1),
        BENCH_DONE=str(done),
    )
    eventually(done.exists, 120)
    worker.stop()
    return accepted, published, float(done.read_text())


def fill(database: Path, rows: int) -> None:
    """Put that many handled messages of long ago into outbox and inbox."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN")
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?)"
        " INSERT INTO {} SELECT {} FROM n"
    )
    old = "'2026-01-01 00:00:00'"
    envelope = f"'{'x' * 400}'"
    connection.execute(
        numbers.format(
            "messaging_outboxmessage (message_id, target, generation, source, type, kind,"
            " priority, urgency, created_at, envelope, under_custody, state, first_published_at,"
            " published_at, publishes, failures, told_at, settled_at, last_error, reason)",
            f"'old' || i, 'counter', 0, 'tester', 'count', 'command', 'CRITICAL', 3, {old},"
            f" {envelope}, 1, 'handled', {old}, {old}, 1, 0, {old}, {old}, '', ''",
        ),
        [rows],
    )
    connection.execute(
        numbers.format(
            "messaging_inboxmessage (message_id, service, generation, source, custodian, type,"
            " priority, created_at, envelope, state, run_token, owner, attempts, unended_runs,"
            " owes_receipt, begun_at, finished_at, last_error, signal)",
            f"'old' || i, 'counter', 0, 'tester', 'tester', 'count', 'CRITICAL', {old},"
            f" {envelope}, 'handled', '', 'x', 0, 0, 0, {old}, {old}, '', ''",
        ),
        [rows],
    )
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=1000)
    arguments.add_argument("--old", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        empty = migrated(Path(temporary))
        full = Path(temporary) / "full.sqlite3"
        shutil.copy(empty, full)
        fill(full, chosen.old)
        installations = {}
        try:
            for name, database in (("empty", empty), ("full", full)):
                folder = Path(temporary) / name
                folder.mkdir()
                installations[name] = Installation(BROKERS["sqlite"], folder, database)
            report(installations, chosen.messages, chosen.rounds, chosen.old)
        finally:
            for installation in installations.values():
                installation.close()


def report(installations: dict[str, Installation], count: int, rounds: int, old: int) -> None:
    cases = {
        "NORMAL": ("empty", "NORMAL"),
        "CRITICAL": ("empty", "CRITICAL"),
        f"CRITICAL, {old:,} old rows": ("full", "CRITICAL"),
    }
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (database, priority) in cases.items():
            found[name].append(rates(installations[database], priority, count))
    print(f"{'messages a second':28} {'accepted':>9} {'published':>10} {'handled':>9}")
    medians = {}
    for name, rows in found.items():
        medians[name] = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(
            f"{name:28} {medians[name][0]:9.0f} {medians[name][1]:10.0f} {medians[name][2]:9.0f}"
        )
    normal, critical, full = medians.values()
    print("time of CRITICAL against NORMAL:  " + ratios(normal, critical))
    print("time with old rows against empty: " + ratios(critical, full))


def ratios(base: list[float], other: list[float]) -> str:
    names = ("accept", "publish", "handle")
    return ", ".join(
        f"{name} {mine / theirs:.2f}"
        for name, mine, theirs in zip(names, base, other, strict=True)
    )


if __name__ == "__main__":
    began = perf_counter()
    main()
    print(f"({perf_counter() - began:.0f} s)")
