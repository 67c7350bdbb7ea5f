"""What one measurement found, and the file that keeps it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from messaging.clock import SYSTEM_CLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One contestant, one workload, one variant, one repetition."""

    workload: str
    variant: str
    peer: str
    rep: int
    #: By metric; see `figures`. One that could not be measured is not there.
    values: dict[str, float] = field(default_factory=dict)
    #: Says so where fewer messages were handled than sent, or fewer sent than planned.
    cut_short: str = ""
    #: Why it failed; there are no values then.
    error: str = ""
    #: A fixed piece of Python, timed just before: how fast the machine was.
    spin_ms: float
    took_seconds: float
    #: Epoch seconds.
    at: float = field(default_factory=SYSTEM_CLOCK.now)


class RowFile:
    """A JSON array that is whole after every row.

    Args:
        path: made if missing, with its folder.
        keep: whether rows that the file has already stay.
    """

    def __init__(self, path: Path, *, keep: bool) -> None:
        self._path = path
        self.rows: list[Row] = []
        if keep and path.exists():
            self.rows = [Row(**each) for each in json.loads(path.read_text())]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def add(self, row: Row) -> None:
        """Keep one more row."""
        self.rows.append(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        lines = ",\n".join(json.dumps(asdict(each)) for each in self.rows)
        part.write_text(f"[\n{lines}\n]\n")
        part.rename(self._path)

    @property
    def next_rep(self) -> int:
        """The number of the first repetition that has no row yet."""
        return max((row.rep for row in self.rows), default=-1) + 1
