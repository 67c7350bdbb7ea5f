"""A picture of memory and file sizes over time, with the faults marked: an SVG file."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from tests.soak.observing import Sample
from tests.soak.turns import Span

#: MB over seconds.
Line = list[tuple[float, float]]

_WIDTH: Final = 1200
_PANEL: Final = 330
_LEFT, _RIGHT, _TOP, _GAP = 60, 190, 120, 50
_COLOURS: Final = (
    *("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf"),
    *("#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#000000", "#3b5b92"),
)


def picture(title: str, samples: Sequence[Sample], spans: Sequence[Span]) -> str:
    """Return the SVG: memory above, files below."""
    begun_at = samples[0].at if samples else 0.0
    seconds = max((sample.at - begun_at for sample in samples), default=0.0) or 1.0
    memory: dict[str, Line] = defaultdict(list)
    files: dict[str, Line] = defaultdict(list)
    for sample in samples:
        for name, (_, mb) in sample.memory.items():
            memory[name].append((sample.at - begun_at, mb))
        for name, mb in sample.files.items():
            files[name].append((sample.at - begun_at, mb))
    height = _TOP + 2 * (_PANEL + _GAP)
    second = _TOP + _PANEL + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
        *_faults(spans, begun_at, seconds, height),
        *_panel("memory (RSS), MB", memory, seconds, _TOP, least=_least(memory)),
        *_panel("files, MB", files, seconds, second),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(at: float, seconds: float) -> float:
    return _LEFT + at / seconds * (_WIDTH - _LEFT - _RIGHT)


def _faults(spans: Sequence[Span], begun_at: float, seconds: float, height: int) -> list[str]:
    parts = []
    for span in spans:
        begin, end = _x(span.begun_at - begun_at, seconds), _x(span.ended_at - begun_at, seconds)
        parts.append(
            f'<rect x="{begin:.1f}" y="{_TOP}" width="{max(1.0, end - begin):.1f}"'
            f' height="{height - _TOP - _GAP}" fill="#d62728" fill-opacity="0.12"/>'
        )
        parts.append(
            f'<text transform="translate({begin + 4:.1f} {_TOP - 4}) rotate(-60)"'
            f' fill="#a00000" font-size="10">{escape(span.name)}</text>'
        )
    return parts


def _least(lines: Mapping[str, Line]) -> float:
    """Return where the axis begins: a growth of few MB is to be seen beside what all hold."""
    return min((mb for line in lines.values() for _, mb in line), default=0.0) * 0.95


def _panel(
    title: str, lines: Mapping[str, Line], seconds: float, top: int, *, least: float = 0.0
) -> list[str]:
    most = max((mb for line in lines.values() for _, mb in line), default=0.0) * 1.05 or 1.0
    bottom, right = top + _PANEL, _WIDTH - _RIGHT

    def y(mb: float) -> float:
        return bottom - (mb - least) / (most - least) * _PANEL

    parts = [
        f'<text x="{_LEFT}" y="{bottom + 30}">{escape(title)}, over minutes</text>',
        f'<path d="M{_LEFT} {top}V{bottom}H{right}" fill="none" stroke="#444"/>',
    ]
    for step in range(5):
        mb, minute = least + (most - least) * step / 4, seconds / 60 * step / 4
        parts.append(f'<text x="{_LEFT - 6}" y="{y(mb):.1f}" text-anchor="end">{mb:.1f}</text>')
        x = _x(minute * 60, seconds)
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{minute:.1f}</text>'
        )
    for number, (name, line) in enumerate(sorted(lines.items())):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{_x(at, seconds):.1f},{y(mb):.1f}" for at, mb in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        label = f"{name}: {line[-1][1]:.1f}"
        parts.append(
            f'<text x="{right + 8}" y="{top + 12 + 15 * number}" fill="{colour}">'
            f"{escape(label)}</text>"
        )
    return parts
