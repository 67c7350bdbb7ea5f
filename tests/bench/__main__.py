"""Measure the bus beside Celery, and itself as it grows: ``python -m tests.bench``.

The workloads are W1 (backlog), W2 (latency), W3 (requests), W4 (broadcasts), W5 (durable), W6 (an
idle worker), W7 (beside a backlog), W8 (in an old database), W9 (with many services), W10 (HTTP),
W11 (health rounds), W12 (beside those who look at the pages), ORDERED (as W5, with ordering keys),
EVENTS and SIGNED (as W1, with task events, and with signatures). RabbitMQ is looked for at
BENCH_AMQP; Redis is started for each measurement where redis-server is installed, and else looked
for at BENCH_REDIS. Ends with 1 if a measurement failed; whether targets are met is in the table
only.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway_app.process import stopped_by_signals
from tests.bench import contestants, servers
from tests.bench.counts import Counts
from tests.bench.growth import aged_database
from tests.bench.measurement import Measurement, shared_folder
from tests.bench.peers.bus import migrated_database
from tests.bench.plan import WORKLOADS, Case, cases, in_order, narrowed
from tests.bench.report import table
from tests.bench.rows import Row, RowFile
from tests.support.installation import ROOT

#: On a disk on most hosts, where the folder of temporary files may be memory: fsync is free there.
_DISK: Final = Path("/var/tmp")
_INTERRUPTED: Final = 130


class Run:
    """One run of the harness.

    Args:
        options: of the command line.
        rows: where they go.
        shared: a folder for what several measurements use.
    """

    def __init__(self, options: argparse.Namespace, rows: RowFile, shared: Path) -> None:
        self._options = options
        self._rows = rows
        self._shared = shared
        self._empty = migrated_database()
        counts = Counts.to_try_it_out() if options.quick else Counts()
        self._counts = counts.with_messages(options.messages)

    def measure(self) -> None:
        """Measure everything, repetition by repetition."""
        absent = servers.missing()
        for text in absent.values():
            print(f"left out: {text}", file=sys.stderr)
        first = self._rows.next_rep
        for rep in range(first, first + self._options.reps):
            for workload in self._options.workloads:
                groups = cases(workload, self._counts)
                wanted = self._options.peers
                for group in narrowed(groups, absent=absent, peers=wanted):
                    for case in in_order(group, rep):
                        self._measure_one(case, rep)

    def _measure_one(self, case: Case, rep: int) -> None:
        database = self._empty
        if case.old_rows:
            database = aged_database(self._empty, self._shared, case.old_rows)
        spin_ms, began = _spin_ms(), time.monotonic()
        values, cut_short, error = {}, "", ""
        try:
            with Measurement(
                case.contestant,
                self._options.scratch,
                budget_seconds=self._options.budget,
                database=database,
                durable=case.durable,
                more=case.more,
            ) as measurement:
                outcome = case.measure(measurement)
                values, cut_short = outcome.values, outcome.cut_short
        except Exception as exc:  # one that fails is a result, not the end of the run
            error = f"{type(exc).__name__}: {exc}"[:500]
        row = Row(
            workload=case.workload,
            variant=case.variant,
            peer=case.contestant.name,
            rep=rep,
            values=values,
            cut_short=cut_short,
            error=error,
            spin_ms=spin_ms,
            took_seconds=time.monotonic() - began,
        )
        self._rows.add(row)
        found = error or " ".join(f"{name}={value:.4g}" for name, value in values.items())
        told = f"{row.workload} {row.variant} {row.peer} #{rep} {row.took_seconds:.1f} s: {found}"
        print(f"{told} {cut_short}".rstrip(), file=sys.stderr, flush=True)


def main() -> int:
    """Do what the command line says."""
    options = _options()
    rows = RowFile(options.json, keep=options.add or options.report_only)
    code = 0
    if not options.report_only:
        try:
            with stopped_by_signals(), shared_folder(options.scratch) as shared:
                Run(options, rows, shared).measure()
        except KeyboardInterrupt:
            code = _INTERRUPTED
    text = table(rows.rows)
    print(text)
    if options.table is not None:
        options.table.write_text(text)
    return code or int(any(row.error for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workloads", type=_workloads, default=WORKLOADS, help="such as W1,W3")
    parser.add_argument("--peers", type=_peers, default=(), help="such as bus-sqlite,celery-rmq")
    parser.add_argument("--reps", type=int, default=3, help="repetitions (3)")
    parser.add_argument("--messages", type=int, help="in W1, W5, EVENTS, ORDERED, SIGNED (5000)")
    parser.add_argument("--budget", type=float, default=15.0, help="seconds for one step (15)")
    parser.add_argument(
        "--json",
        type=Path,
        default=ROOT / "var/bench/latest.json",
        help="where rows are kept as they come; begun anew (var/bench/latest.json)",
    )
    parser.add_argument("--add", action="store_true", help="keep the rows the JSON file has")
    parser.add_argument("--table", type=Path, help="write the table there, too")
    parser.add_argument("--report-only", action="store_true", help="print the table of the file")
    parser.add_argument("--quick", action="store_true", help="tiny counts, one repetition")
    parser.add_argument("--scratch", type=Path, default=_scratch(), help="a folder on a real disk")
    options = parser.parse_args()
    if options.quick:
        options.reps = 1
    return options


def _workloads(text: str) -> tuple[str, ...]:
    return _known(text.upper(), WORKLOADS)


def _peers(text: str) -> tuple[str, ...]:
    return _known(text, [contestant.name for contestant in contestants.ALL])


def _known(text: str, names: Sequence[str]) -> tuple[str, ...]:
    wanted = tuple(text.split(","))
    for name in wanted:
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}")
    return wanted


def _scratch() -> Path:
    return _DISK if os.access(_DISK, os.W_OK) else Path(tempfile.gettempdir())


def _spin_ms() -> float:
    """Time a fixed piece of Python: how fast the machine is just now."""
    began = time.perf_counter()
    sum(number * number for number in range(200_000))
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    sys.exit(main())
