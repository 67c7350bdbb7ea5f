"""The states of an instance over a stretch of time as a strip, with a pin for each transition.

Pure: health records come in, percentages of a width go out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from gateway_app.models import SERVING, State
from gateway_app.registry.verdicts import DEREGISTERED

#: Stands for "there is no such process", which is no state.
ABSENT: Final = ""
#: Narrower stretches could not be seen; in percent.
_LEAST_WIDTH: Final = 0.4
#: How many instants a strip can tell apart; it moves on when the next one is reached.
_STEPS: Final = 720
#: Marks below each other on the axis are so far apart at least, for how many marks.
_MOST_MARKS: Final = 7
_MARKS: Final = tuple(timedelta(hours=hours) for hours in (1, 4, 24))


@dataclass(frozen=True, slots=True)
class Change:
    """One health record."""

    key: int
    service: str
    #: Empty: it is about the service, which was asked by message.
    instance_id: str
    #: Empty: nothing was known before.
    previous: str
    state: State
    cause: str
    at: datetime

    @property
    def becomes(self) -> str:
        """The state from then on; `ABSENT` for who said goodbye or was forgotten."""
        if self.instance_id and (self.state is State.UNKNOWN or self.cause == DEREGISTERED):
            return ABSENT
        return self.state.value


class Segment(NamedTuple):
    """A stretch in one state, in percent of the width."""

    state: str
    x: float
    width: float

    @property
    def css(self) -> str:
        """Its class, and the name of its pattern."""
        return self.state.lower() or "absent"


class Pin(NamedTuple):
    """A transition, in percent of the width."""

    change: Change
    x: float


class Mark(NamedTuple):
    """An instant of the axis, in percent of the width."""

    text: str
    x: float


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time."""

    began_at: datetime
    ended_at: datetime
    #: Nothing is known of what was earlier.
    known_from: datetime | None = None

    def place(self, at: datetime) -> float:
        """Return where an instant is, from 0 to 100."""
        share = (at - self.began_at) / (self.ended_at - self.began_at)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def marks(self) -> list[Mark]:
        """Return round instants for the axis, those at the very edges left out."""
        length = self.ended_at - self.began_at
        step = next((each for each in _MARKS if length / each <= _MOST_MARKS), _MARKS[-1])
        seconds = step.total_seconds()
        first = (self.began_at.timestamp() // seconds + 1) * seconds
        at = datetime.fromtimestamp(first, self.began_at.tzinfo)
        found = []
        while at < self.ended_at:
            x = self.place(at)
            if 3 <= x <= 97:
                found.append(Mark(f"{at:%a %-d}" if step.days else f"{at:%H:%M}", x))
            at += step
        return found


def window(now: datetime, length: timedelta) -> Window:
    """Return the stretch that ends now, rounded up so that it moves on in steps."""
    step = length.total_seconds() / _STEPS
    ended_at = datetime.fromtimestamp((now.timestamp() // step + 1) * step, now.tzinfo)
    return Window(ended_at - length, ended_at)


@dataclass(frozen=True, slots=True)
class Strip:
    """The states of one instance in a stretch of time."""

    segments: Sequence[Segment]
    pins: Sequence[Pin]

    @property
    def state(self) -> str:
        """The last one."""
        return self.segments[-1].state if self.segments else ABSENT

    @property
    def uptime(self) -> float | None:
        """The share of time in which it served, of that in which it should have.

        Maintenance does not count, nor when it was absent; None: it never should have.
        """
        served = sum(each.width for each in self.segments if each.state in SERVING)
        missed = sum(each.width for each in self.segments if each.state == State.DOWN)
        return served / (served + missed) if served + missed else None


def strip(changes: Iterable[Change], shown: Window, *, otherwise: str) -> Strip:
    """Return the strip of one instance.

    Args:
        changes: its records, oldest first; those before the stretch say how it began.
        shown: the stretch.
        otherwise: its state where no record says so, then and now.
    """
    changes = list(changes)
    earlier = [each for each in changes if each.at < shown.began_at]
    inside = [each for each in changes if shown.began_at <= each.at <= shown.ended_at]
    first = inside[0].previous if inside else otherwise
    state = earlier[-1].becomes if earlier else first
    began = 0.0
    if shown.known_from is not None and not earlier:
        began = shown.place(shown.known_from)
    segments: list[Segment] = []
    pins = []
    for change in inside:
        x = shown.place(change.at)
        _put(segments, state, began, x)
        pins.append(Pin(change, x))
        state, began = change.becomes, max(began, x)
    _put(segments, state, began, 100.0)
    return Strip(segments, pins)


def drawn(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments as they are drawn: none too narrow to be seen, the later ones on top."""
    found = []
    for each in segments:
        width = max(each.width, _LEAST_WIDTH)
        found.append(each._replace(x=round(min(each.x, 100 - width), 2), width=round(width, 2)))
    return found


def _put(segments: list[Segment], state: str, began: float, ended: float) -> None:
    """Add a stretch; one of the same state goes on."""
    if segments and segments[-1].state == state:
        last = segments.pop()
        segments.append(last._replace(width=round(ended - last.x, 2)))
    elif ended > began or ended == 100.0:
        segments.append(Segment(state, began, round(ended - began, 2)))
