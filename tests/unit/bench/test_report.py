"""What the benchmark makes of what it measured."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.bench.arithmetic import (
    Record,
    Spread,
    distinct,
    events_rate,
    latest_ms,
    percentile,
    rate,
    shortfall,
    spread,
)
from tests.bench.figures import SECTIONS, Figure
from tests.bench.plan import WORKLOADS, in_order
from tests.bench.report import ratios, table
from tests.bench.rows import Row, RowFile
from tests.bench.targets import TARGETS, Target, target_of

SECOND = 1_000_000_000
BUS = Figure("W1", "c4", "bus-sqlite", "handled_s")
CELERY = Figure("W1", "c4", "celery-rmq", "handled_s")


def row(peer: str, rep: int, handled_s: float | None, **changes: Any) -> Row:
    values = {} if handled_s is None else {"handled_s": handled_s}
    fields = {"workload": "W1", "variant": "c4", "spin_ms": 10.0, "took_seconds": 1.0}
    return Row(peer=peer, rep=rep, values=values, **{**fields, **changes})


def test_a_ratio_is_formed_inside_its_repetition() -> None:
    """The machine was ten times slower in the second one; medians of values would say 11."""
    rows = [
        row("bus-sqlite", 0, 2000.0),
        row("celery-rmq", 0, 1000.0),
        row("celery-rmq", 1, 100.0),
        row("bus-sqlite", 1, 300.0),
    ]
    assert ratios(rows, BUS, CELERY) == [2.0, 3.0]


@pytest.mark.parametrize("theirs", [None, 0.0], ids=["failed", "nothing"])
def test_a_repetition_without_a_base_has_no_ratio(theirs: float | None) -> None:
    rows = [row("bus-sqlite", 0, 2000.0), row("celery-rmq", 0, theirs)]
    assert ratios(rows, BUS, CELERY) == []


def test_other_variants_are_no_base() -> None:
    rows = [row("bus-sqlite", 0, 2000.0), row("celery-rmq", 0, 1000.0, variant="c1")]
    assert ratios(rows, BUS, CELERY) == []


def test_spread_is_the_median_between_the_extremes() -> None:
    assert spread([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)
    assert spread([]) is None


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile(range(100), 50) == 50
    assert percentile(range(100), 99) == 99
    assert percentile([7.0], 99) == 7.0


def test_a_rate_counts_intervals() -> None:
    records = [Record(0, n, 0, n * SECOND // 10) for n in range(11)]
    assert rate(records) == pytest.approx(10.0)
    assert rate(records, 6) == pytest.approx(10.0)
    assert rate(records[:1]) == 0.0


def test_an_event_counts_once_the_last_service_has_it() -> None:
    records = [Record(service, 0, 0, (service + 1) * SECOND) for service in range(5)]
    assert latest_ms(records) == [5000.0]
    assert events_rate(records) == pytest.approx(0.2)


def test_a_message_handled_twice_counts_once() -> None:
    records = [Record(0, 1, 0, 5), Record(0, 1, 0, 6), Record(1, 1, 0, 7)]
    assert distinct(records) == 2
    assert shortfall(records, 2, 2) == ""
    assert shortfall(records, 3, 4) == "2 handled of 3 sent of 4 planned"


def test_bounds_belong_to_the_target() -> None:
    assert Target(workload="W1", at_least=3.0).is_met(3.0)
    assert not Target(workload="W1", at_least=3.0).is_met(2.99)
    assert Target(workload="W1", at_most=0.5).is_met(0.5)
    assert not Target(workload="W1", at_most=0.5).is_met(0.51)


def test_settling_is_compared_with_what_celery_calls_done() -> None:
    settled = Figure("W5", "c4", "bus-amqp", "settled_s")
    target = target_of(settled)
    assert target is not None
    assert target.base(settled) == Figure("W5", "c4", "celery-rmq", "handled_s")


def test_growth_is_compared_with_the_smallest() -> None:
    large = Figure("W7", "1,000,000 waiting", "bus-sqlite", "publish_us")
    target = target_of(large)
    assert target is not None
    assert target.base(large) == Figure("W7", "1,000 waiting", "bus-sqlite", "publish_us")
    assert target_of(target.base(large)) is None


def test_celery_has_no_target() -> None:
    assert target_of(CELERY) is None


def test_targets_name_figures_that_are_measured() -> None:
    assert set(SECTIONS) == set(WORKLOADS)
    for target in TARGETS:
        names = {metric.name for metric in SECTIONS[target.workload].metrics}
        assert {target.metric, target.base_metric} <= {"", *names}


def test_the_table_says_whether_a_target_is_met() -> None:
    rows = [row("bus-sqlite", 0, 1900.0), row("celery-rmq", 0, 1000.0)]
    assert "| handled/s | c4 | bus-sqlite | 1,900 | 1.90 | ≥ 2: **missed** |" in table(rows)
    rows += [row("bus-sqlite", rep, 2500.0) for rep in (1, 2)]
    rows += [row("celery-rmq", rep, 1000.0) for rep in (1, 2)]
    assert "| 2,500 | 2.50 (1.90 to 2.50) | ≥ 2: met |" in table(rows)


def test_the_table_shows_what_failed_and_what_was_cut_short() -> None:
    rows = [
        row("bus-amqp", 0, None, error="Failed: no queue"),
        row("celery-rmq", 0, 9.0, cut_short="5 handled of 7 sent of 9 planned"),
    ]
    assert "- bus-amqp, c4, repetition 0: failed: Failed: no queue" in table(rows)
    assert "- celery-rmq, c4, repetition 0: 5 handled of 7" in table(rows)


@pytest.mark.parametrize("size", [2, 3, 6, 7])
def test_each_repetition_has_everyone_and_another_first(size: int) -> None:
    group = list(range(size))
    orders = [in_order(group, rep) for rep in range(size)]
    assert all(sorted(order) == group for order in orders)
    assert sorted(order[0] for order in orders) == group


def test_neighbours_differ_between_repetitions() -> None:
    group = list(range(6))
    neighbours = [pair for rep in range(6) for pair in pairwise(in_order(group, rep))]
    assert len(set(neighbours)) == len(neighbours)


def test_rows_are_kept_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.json"
    first = RowFile(path, keep=False)
    first.add(row("bus-sqlite", 0, 1.0))
    first.add(row("bus-sqlite", 1, 2.0))
    again = RowFile(path, keep=True)
    assert again.rows == first.rows
    assert again.next_rep == 2
    assert RowFile(path, keep=False).next_rep == 0
