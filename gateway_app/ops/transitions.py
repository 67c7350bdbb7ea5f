"""What health records say of the stretch of time that a page shows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from gateway_app.models import AuditRecord, HealthRecord, HealthSummary, Resolution, State
from gateway_app.ops.paced import Paced
from gateway_app.ops.question import RANGES, Question
from gateway_app.ops.strips import Change, Window, window
from messaging.envelope import utc_now

#: Records that are read, and pins that are shown, at most: the newest ones.
MOST: Final = 500
#: Uptime is that of so long.
DAY: Final = timedelta(hours=24)
CHOICES: Final = ("6h", "24h", "7d")
#: Probes of so many minutes are shown.
PROBE_MINUTES: Final = 60

_FIELDS: Final = (
    "pk",
    "service__name",
    "instance_id",
    "previous_state",
    "state",
    "cause",
    "at",
)


class Place(NamedTuple):
    """Whose strip it is; without an instance, the service's as it answers messages."""

    service: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class History:
    """Everything that records say."""

    shown: Window
    day: Window
    #: Of each strip, oldest first.
    changes: Mapping[Place, Sequence[Change]]
    #: What was before the first change after the stretch, where the page is about an earlier one.
    later: Mapping[Place, str] = field(default_factory=dict)
    #: Whether there are more than are shown.
    is_cut: bool = False

    def inside(self) -> list[Change]:
        """Return the changes within the stretch that is shown, newest first."""
        began_at = self.shown.began_at
        found = [each for some in self.changes.values() for each in some if each.at >= began_at]
        return sorted(found, key=lambda each: (each.at, each.key), reverse=True)


class Probes(NamedTuple):
    """Health checks of one service, by minute, oldest first."""

    #: Seconds until the answer on average; None: none was answered.
    seconds: Sequence[float | None]
    checks: int
    failures: int

    @property
    def last(self) -> float | None:
        """The newest that is known."""
        return next((each for each in reversed(self.seconds) if each is not None), None)


def history(asked: Question) -> History:
    """Return what is on record of the chosen range, in one query on an index; frozen, in two."""
    length = RANGES[asked.range(CHOICES)]
    shown, day = _windows(asked, length)
    began_at = min(shown.began_at, day.began_at)
    records = HealthRecord.objects.filter(at__gte=began_at, at__lte=asked.now)
    if service := asked.parameters.get("service"):
        records = records.filter(service__name=service)
    newest = [_change(row) for row in records.values_list(*_FIELDS)[: MOST + 1]]
    is_cut = len(newest) > MOST
    if is_cut:
        newest.pop()
        cut_at = newest[-1].at
        shown = Window(shown.began_at, shown.ended_at, cut_at)
        day = Window(day.began_at, day.ended_at, cut_at)
    by_place: dict[Place, list[Change]] = defaultdict(list)
    for change in reversed(newest):
        by_place[Place(change.service, change.instance_id)].append(change)
    later = _later(asked) if asked.is_frozen else {}
    return History(shown, day, by_place, later, is_cut)


def by_hand(changes: Iterable[Change]) -> dict[int, str]:
    """Return who wanted which maintenance, and why, by key of the change; one query.

    An audit record is written with what it is about, at the same instant.
    """
    wanted = [each for each in changes if State.MAINTENANCE in (each.state, each.previous)]
    if not wanted:
        return {}
    done = AuditRecord.objects.filter(
        action="maintenance", at__in={each.at for each in wanted}
    ).values_list("service", "at", "actor", "detail")
    said = {(service, at): f"{actor}: {detail}" for service, at, actor, detail in done}
    return {each.key: said.get((each.service, each.at), "") for each in wanted}


def probes(asked: Question) -> Mapping[str, Probes]:
    """Return how services answered health checks lately, by name."""
    if asked.is_frozen:
        return _read_probes(asked.now)
    known = _probes.get()
    return known.value if known else {}


def _read_probes(now: datetime) -> dict[str, Probes]:
    began_at = now - timedelta(minutes=PROBE_MINUTES)
    rows = HealthSummary.objects.filter(
        resolution=Resolution.MINUTE, at__gt=began_at, at__lte=now
    ).values_list("service__name", "at", "checks", "failures", "seconds_sum")
    averages: dict[str, list[float | None]] = defaultdict(lambda: [None] * PROBE_MINUTES)
    counts: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for service, at, checks, failures, seconds_sum in rows.order_by().iterator():
        place = min(PROBE_MINUTES - 1, int((at - began_at).total_seconds() // 60))
        answered = checks - failures
        averages[service][place] = seconds_sum / answered if answered else None
        known = counts[service]
        counts[service] = known[0] + checks, known[1] + failures
    return {service: Probes(averages[service], *counts[service]) for service in averages}


def _read_probes_now() -> dict[str, Probes]:
    return _read_probes(utc_now())


_probes: Final = Paced(_read_probes_now, 5.0)


def _windows(asked: Question, length: timedelta) -> tuple[Window, Window]:
    if asked.is_frozen:
        return Window(asked.now - length, asked.now), Window(asked.now - DAY, asked.now)
    return window(asked.now, length), window(asked.now, DAY)


def _later(asked: Question) -> dict[Place, str]:
    rows = HealthRecord.objects.filter(at__gt=asked.now).order_by("at", "pk")[:MOST]
    found: dict[Place, str] = {}
    for row in rows.select_related("service"):
        found.setdefault(Place(row.service.name, row.instance_id), row.previous_state)
    return found


def _change(row: tuple[int, str, str, str, str, str, datetime]) -> Change:
    key, service, instance_id, previous, state, cause, at = row
    return Change(key, service, instance_id, previous, State(state), cause, at)
