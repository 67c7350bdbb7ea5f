"""Small pictures as SVG attributes: no script, no inline style, the same with and without colour.

All functions are pure and return numbers or path texts for templates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SPARK_WIDTH: Final = 110
SPARK_HEIGHT: Final = 24
_RING_RADIUS: Final = 8.0
_RING_CENTRE: Final = 10.0
#: Between two instances, in radians.
_RING_GAP: Final = 0.22
BARS_WIDTH: Final = 78


@dataclass(frozen=True, slots=True)
class Spark:
    """A line without axes, oldest value first; where nothing is known it has a gap."""

    points: int
    line: str
    area: str
    #: Where it ends; None: nothing is known of the last moment.
    dot: tuple[float, float] | None


def spark(values: Sequence[float | None]) -> Spark:
    """Return the line of some values, the largest at the top, 0 at the bottom."""
    known = [value for value in values if value is not None]
    top = max(known, default=0.0) or 1.0
    step = SPARK_WIDTH / max(1, len(values) - 1)
    runs: list[list[tuple[float, float]]] = [[]]
    for position, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            height = (SPARK_HEIGHT - 2) * value / top
            runs[-1].append((round(position * step, 1), round(SPARK_HEIGHT - 1 - height, 1)))
    drawn = [run for run in runs if run]
    is_known = bool(values) and values[-1] is not None
    return Spark(
        points=len(values),
        line=" ".join(_line(run) for run in drawn),
        area=" ".join(f"{_line(run)}V{SPARK_HEIGHT}H{run[0][0]}Z" for run in drawn),
        dot=drawn[-1][-1] if is_known else None,
    )


def _line(run: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in run)


def ring(states: Sequence[str]) -> list[tuple[str, str]]:
    """Return an arc for each instance, from the top and clockwise: its class and its path."""
    if not states:
        return [("unknown", _arc(0.0, 2 * math.pi))]
    share = 2 * math.pi / len(states)
    gap = min(_RING_GAP, share / 3) if len(states) > 1 else 0.0
    return [
        (state.lower(), _arc(number * share + gap / 2, (number + 1) * share - gap / 2))
        for number, state in enumerate(states)
    ]


def _arc(began: float, ended: float) -> str:
    # An arc cannot end where it begins.
    ended = min(ended, began + 2 * math.pi - 0.001)
    x0, y0, x1, y1 = (
        round(_RING_CENTRE + _RING_RADIUS * turned, 2)
        for angle in (began, ended)
        for turned in (math.sin(angle), -math.cos(angle))
    )
    is_large = int(ended - began > math.pi)
    return f"M{x0} {y0}A{_RING_RADIUS} {_RING_RADIUS} 0 {is_large} 1 {x1} {y1}"


@dataclass(frozen=True, slots=True)
class Bar:
    """One of a row of bars."""

    x: float
    y: float
    width: float
    height: float
    count: int


def bars(counts: Sequence[int]) -> list[Bar]:
    """Return bars for counts, oldest first; those of none are a dash at the bottom."""
    top = max(counts, default=0) or 1
    width = BARS_WIDTH / max(1, len(counts))
    found = []
    for number, count in enumerate(counts):
        height = max(3.0, (SPARK_HEIGHT - 2) * count / top) if count else 1.0
        x, y = round(number * width, 1), round(SPARK_HEIGHT - height, 1)
        found.append(Bar(x, y, round(width * 0.7, 1), round(height, 1), count))
    return found
