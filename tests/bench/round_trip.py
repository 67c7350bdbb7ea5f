"""Request and reply: the bus on each broker against Celery's own on RabbitMQ, in one run.

Pairs are interleaved, and ratios are formed inside each pair: this says something on a noisy
machine, absolute figures do not.

    python -m tests.bench.round_trip [--rounds 7] [--requests 300] [--brokers sqlite,amqp,redis]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from tests.support.brokers import BROKERS
from tests.support.installation import ROOT, Installation
from tests.support.waiting import eventually

DATA = {"userId": 123, "text": "x" * 100}


def milliseconds(ask: Callable[[], object], requests: int) -> list[float]:
    """Return the sorted durations of so many round trips."""
    durations = []
    for _ in range(requests):
        began = perf_counter()
        ask()
        durations.append((perf_counter() - began) * 1000)
    return sorted(durations)


def migrated(folder: Path) -> Path:
    env = {**os.environ, "VAR_DIR": str(folder)}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, env=env, check=True
    )
    return folder / "gateway.sqlite3"


def raw_celery(installation: Installation) -> Callable[[], object]:
    """Start Celery's worker at its defaults and return what asks it."""
    env = {"RAW_BROKER": BROKERS["amqp"].url, "RAW_QUEUE": f"raw-{uuid.uuid4().hex}"}
    os.environ.update(env)
    from tests.bench.raw_celery import echo

    installation.start("raw", "celery", "-A", "tests.bench.raw_celery", "worker", **env)
    echo.delay(DATA).get(timeout=30)
    return lambda: echo.delay(DATA).get(timeout=30)


def bus(installation: Installation) -> Callable[[], object]:
    """Start a worker of the bus and return what asks it."""
    installation.start_worker("probe")
    asker = installation.communicator()
    eventually(lambda: asker.request("probe", "echo", DATA, timeout=30) == DATA)
    return lambda: asker.request("probe", "echo", DATA, timeout=30)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--requests", type=int, default=300)
    arguments.add_argument("--brokers", default="sqlite,amqp,redis")
    arguments.add_argument("--json", action="store_true")
    chosen = arguments.parse_args()

    installations = []
    with tempfile.TemporaryDirectory() as temporary:
        database = migrated(Path(temporary))
        try:
            askers = {}
            for name in chosen.brokers.split(","):
                folder = Path(temporary) / name
                folder.mkdir()
                installations.append(Installation(BROKERS[name], folder, database))
                askers[name] = bus(installations[-1])
            folder = Path(temporary) / "raw"
            folder.mkdir()
            installations.append(Installation(BROKERS["amqp"], folder, database))
            baseline = raw_celery(installations[-1])
            report(measure(askers, baseline, chosen.rounds, chosen.requests), chosen.json)
        finally:
            for installation in installations:
                installation.close()


def measure(
    askers: dict[str, Callable[[], object]],
    baseline: Callable[[], object],
    rounds: int,
    requests: int,
) -> dict[str, list[dict[str, float]]]:
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in askers}
    for _ in range(rounds):
        for name, ask in askers.items():
            raw = milliseconds(baseline, requests)
            ours = milliseconds(ask, requests)
            rows[name].append(
                {
                    "p50": ours[requests // 2],
                    "p99": ours[requests * 99 // 100],
                    "raw_p50": raw[requests // 2],
                    "raw_p99": raw[requests * 99 // 100],
                }
            )
    return rows


def report(rows: dict[str, list[dict[str, float]]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    print("round trip, one caller; ratio to Celery 5.7 at its defaults on RabbitMQ with rpc://")
    print(
        f"{'broker':8} {'p50 ms':>8} {'raw p50':>8} {'ratio p50 (spread)':>22} {'ratio p99':>10}"
    )
    for name, pairs in rows.items():
        ratios = sorted(pair["p50"] / pair["raw_p50"] for pair in pairs)
        tails = statistics.median(pair["p99"] / pair["raw_p99"] for pair in pairs)
        print(
            f"{name:8} {statistics.median(p['p50'] for p in pairs):8.2f}"
            f" {statistics.median(p['raw_p50'] for p in pairs):8.2f}"
            f" {statistics.median(ratios):8.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            f" {tails:10.2f}"
        )


if __name__ == "__main__":
    main()
