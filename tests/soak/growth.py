"""Whether memory and files grow: a slope over the second half of what was seen."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.soak.observing import BROKER, Sample

#: A worker holds 100 MB: one that gains so much has four times that after a week. Restarts come
#: sooner, with deployments.
LIMIT_MB_AN_HOUR: Final = 2.0
#: Caches and arenas come and go: so much within the second half says nothing.
NOISE_MB: Final = 6.0
#: In a shorter run everything is still filling up: threads of pools, their connections and caches.
SHORTEST_SECONDS: Final = 600.0
#: The beginning of a process: imports, then in each thread of its pool the first work, with a
#: connection and its cache.
WARM_SECONDS: Final = 180.0
#: A file may fill up to this: SQLite carries a log over at 16 MB, and keeps the file as it is.
ROOM_MB: Final = 32.0
#: From fewer samples no slope is made.
FEWEST: Final = 8
#: What is judged: a log that is carried over has a bound, and an emptied broker's file as well.
JUDGED_FILES: Final = ("database WAL", "broker", "broker WAL")


@dataclass(frozen=True, slots=True)
class Trend:
    """How one thing grew over the second half."""

    name: str
    #: None: too few samples.
    mb_an_hour: float | None
    first_mb: float
    last_mb: float
    most_mb: float
    #: Beyond this it counts as growing.
    limit: float
    is_judged: bool

    #: Below this it may grow.
    room_mb: float = 0.0

    @property
    def is_flat(self) -> bool:
        is_small = self.most_mb <= self.room_mb
        return self.mb_an_hour is None or is_small or self.mb_an_hour <= self.limit


def slope(groups: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """Return the slope that least squares give points, each group with a level of its own.

    A process that is started anew begins at another level: that is no growth.
    """
    over, under, count = 0.0, 0.0, 0
    for points in groups:
        if len(points) < 2:
            continue
        middle_x = sum(x for x, _ in points) / len(points)
        middle_y = sum(y for _, y in points) / len(points)
        over += sum((x - middle_x) * (y - middle_y) for x, y in points)
        under += sum((x - middle_x) ** 2 for x, _ in points)
        count += len(points)
    return over / under if count >= FEWEST and under else None


def limit_for(seconds: float) -> float:
    """Return the MB an hour that count as growth, for a second half of that length."""
    return max(LIMIT_MB_AN_HOUR, NOISE_MB / (seconds / 3600)) if seconds else LIMIT_MB_AN_HOUR


def memory_trends(samples: Sequence[Sample]) -> list[Trend]:
    """Return one for each process, whatever was started anew in its place; and the server's.

    Judged are those that lived through the second half: of the others it shows beginnings.
    """
    if not samples:
        return []
    begun_at, ended_at = samples[0].at, samples[-1].at
    half_at = (begun_at + ended_at) / 2
    is_long = ended_at - begun_at >= SHORTEST_SECONDS
    seen_first: dict[int, float] = {}
    lives: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(dict)
    for sample in samples:
        for name, (pid, mb) in sample.memory.items():
            first = seen_first.setdefault(pid, sample.at)
            if sample.at >= half_at and sample.at - first >= WARM_SECONDS:
                lives[name].setdefault(pid, []).append((sample.at / 3600, mb))
    limit = limit_for(ended_at - half_at)
    elders = {
        name
        for name, (pid, _) in samples[-1].memory.items()
        if name != BROKER and seen_first[pid] <= half_at
    }
    return [
        _trend(name, list(groups.values()), limit, is_judged=is_long and name in elders)
        for name, groups in sorted(lives.items())
    ]


def file_trends(samples: Sequence[Sample]) -> list[Trend]:
    """Return one for each file; a server's own are not judged."""
    if not samples:
        return []
    seconds = samples[-1].at - samples[0].at
    half_at = samples[0].at + seconds / 2
    half = [sample for sample in samples if sample.at >= half_at]
    has_server = "broker WAL" not in half[-1].files
    judged = JUDGED_FILES if seconds >= SHORTEST_SECONDS else ()
    limit = limit_for(seconds / 2)
    return [
        _trend(
            name,
            [[(sample.at / 3600, sample.files[name]) for sample in half]],
            limit,
            is_judged=name in judged and not (has_server and name == "broker"),
            room_mb=ROOM_MB,
        )
        for name in half[-1].files
    ]


def _trend(
    name: str,
    groups: Sequence[Sequence[tuple[float, float]]],
    limit: float,
    *,
    is_judged: bool,
    room_mb: float = 0.0,
) -> Trend:
    values = [mb for points in groups for _, mb in points]
    return Trend(
        name, slope(groups), values[0], values[-1], max(values), limit, is_judged, room_mb
    )
