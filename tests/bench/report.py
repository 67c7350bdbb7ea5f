"""From rows to a markdown table: medians, and ratios that are formed inside each repetition."""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from tests.bench.arithmetic import Spread, percentile, spread
from tests.bench.contestants import ALL
from tests.bench.figures import SECTIONS, Figure, Metric
from tests.bench.rows import Row
from tests.bench.targets import target_of


def values(rows: Iterable[Row], figure: Figure) -> dict[int, float]:
    """Return a figure by repetition, where it was measured."""
    return {
        row.rep: row.values[figure.metric]
        for row in rows
        if (row.workload, row.variant, row.peer) == (figure.workload, figure.variant, figure.peer)
        and figure.metric in row.values
    }


def ratios(rows: Sequence[Row], figure: Figure, base: Figure) -> list[float]:
    """Return figure through base for each repetition that has both.

    Neighbours on the machine, and its mood, are much the same inside a repetition, and are not
    between repetitions: absolute figures say little, these do.
    """
    mine, theirs = values(rows, figure), values(rows, base)
    return [mine[rep] / theirs[rep] for rep in sorted(mine) if theirs.get(rep)]


def table(rows: Sequence[Row]) -> str:
    """Return everything that was measured as markdown."""
    lines: list[str] = []
    for workload in SECTIONS:
        lines += _section([row for row in rows if row.workload == workload], workload)
    return "\n".join([*lines, *_machine(rows)]) + "\n"


def _section(rows: Sequence[Row], workload: str) -> Iterator[str]:
    if not rows:
        return
    section = SECTIONS[workload]
    yield f"### {section.title}\n"
    yield f"| figure | variant | peer | median | ratio to {section.base_name} | target |"
    yield "|---|---|---|--:|---|---|"
    for metric in section.metrics:
        for variant in _variants(rows):
            for peer in _peers(rows, variant):
                yield from _line(rows, Figure(workload, variant, peer, metric.name), metric)
    yield ""
    yield from _remarks(rows)


def _line(rows: Sequence[Row], figure: Figure, metric: Metric) -> Iterator[str]:
    found = spread(values(rows, figure).values())
    if found is None:
        return
    base = SECTIONS[figure.workload].base(figure)
    ratio = None if base == figure else spread(ratios(rows, figure, base))
    cells = (
        metric.heading,
        figure.variant,
        figure.peer,
        f"{found.median:,.{metric.digits}f}",
        _shown(ratio) if ratio else "",
        _verdict(rows, figure),
    )
    yield f"| {' | '.join(cells)} |"


def _verdict(rows: Sequence[Row], figure: Figure) -> str:
    target = target_of(figure)
    if target is None:
        return ""
    base = target.base(figure)
    ratio = spread(ratios(rows, figure, base))
    if ratio is None:
        return f"{target}: not measured"
    is_shown = base == SECTIONS[figure.workload].base(figure)
    own = "" if is_shown else f" with {_shown(ratio)}"
    return f"{target}: {'met' if target.is_met(ratio.median) else '**missed**'}{own}"


def _shown(ratio: Spread) -> str:
    if ratio.low == ratio.high:
        return f"{ratio.median:.2f}"
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _peers(rows: Sequence[Row], variant: str) -> list[str]:
    """Return who was measured, the bus first."""
    measured = {row.peer for row in rows if row.variant == variant}
    return [contestant.name for contestant in ALL if contestant.name in measured]


def _variants(rows: Sequence[Row]) -> list[str]:
    """Return the variants, sizes from the smallest to the largest."""
    return sorted({row.variant for row in rows}, key=_size)


def _size(variant: str) -> tuple[int, str]:
    """Sort by the number that a variant begins with, those without one first."""
    number = variant.split()[0].replace(",", "")
    return (int(number), variant) if number.isdigit() else (-1, variant)


def _remarks(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        text = f"failed: {row.error}" if row.error else row.cut_short
        if text:
            yield f"- {row.peer}, {row.variant}, repetition {row.rep}: {text}"
    if any(row.error or row.cut_short for row in rows):
        yield ""


def _machine(rows: Sequence[Row]) -> Iterator[str]:
    spins = [row.spin_ms for row in rows]
    if not spins:
        return
    low, high = percentile(spins, 5), percentile(spins, 95)
    yield (
        "A fixed piece of Python, timed before each measurement, took "
        f"{statistics.median(spins):.1f} ms in the median and {low:.1f} to {high:.1f} ms in the "
        f"5th to 95th percentile of {len(spins)} measurements: this is how even the machine was. "
        "Ratios are formed inside each repetition; the median of them is shown, and from the "
        "smallest to the largest."
    )
