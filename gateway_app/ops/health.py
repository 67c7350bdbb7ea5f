"""Health: which instance was in which state when and why, and what may be done about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, islice
from typing import Any, Final

from gateway_app.models import SERVING, RegistryStatus, ServiceInstance, State
from gateway_app.ops import figures, reads
from gateway_app.ops.question import Question
from gateway_app.ops.strips import ABSENT, Change, Segment, Strip, drawn, strip
from gateway_app.ops.transitions import CHOICES, MOST, History, Place, by_hand, history, probes
from gateway_app.registry import registry_status
from gateway_app.registry.own_fault import BLAME_SHARE
from gateway_app.registry.snapshot import ServiceView
from messaging.apps import configured

#: Of what changed.
ENTRIES: Final = 40
#: Instances of a service that are gone and still shown; the others, when they are asked for.
GONE_SHOWN: Final = 4
#: Of a cause, on its card; workers in any language write them.
CAUSE_CHARACTERS: Final = 600
#: Nine seconds of a day are no reason to worry.
ALL_OF_IT: Final = 0.9999
_STATES: Final = (State.UP, State.SUSPECT, State.DOWN, State.MAINTENANCE)


@dataclass(frozen=True, slots=True)
class Line:
    """One strip with what is beside it."""

    place: Place
    strip: Strip
    segments: list[Segment]
    uptime: float | None
    state: str
    #: None: it is gone, or this is the service itself.
    instance: ServiceInstance | None = None
    #: How long ago it was heard of last; None: that is not known.
    heard_seconds: float | None = None
    is_late: bool = False

    @property
    def key(self) -> str:
        """What its test id ends with."""
        return self.place.instance_id or self.place.service

    @property
    def uptime_text(self) -> str:
        """Its uptime in percent, never 100 of not quite all."""
        if self.uptime is None:
            return figures.NOTHING
        percent = min(99.9, 100 * self.uptime)
        return "100 %" if self.uptime > ALL_OF_IT else f"{percent:.1f} %"


@dataclass(frozen=True, slots=True)
class Entry:
    """Transitions of one service that are told together: the same, of one cause, at one time."""

    changes: list[Change]
    by_hand: str

    @property
    def first(self) -> Change:
        """One that says what all do."""
        return self.changes[0]


def counts(asked: Question) -> dict[str, Any]:
    """Return how many instances are in which state, and how the registry itself is."""
    lines = [line for group in asked.once(_groups) for line in group["all"]]
    states = [line.state for line in lines if line.state != ABSENT]
    gaps = [line.heard_seconds for line in lines if line.state in SERVING]
    status = asked.once(_status)
    return {
        "all": len(states),
        "counts": [(state.value, states.count(state), _since(lines, state)) for state in _STATES],
        "heartbeat_seconds": configured().heartbeat_seconds,
        "longest_gap": max((each for each in gaps if each is not None), default=None),
        "held_since": status.mass_silence_since if status else None,
        "blame_percent": round(100 * (1 - BLAME_SHARE)),
    }


def guard(asked: Question) -> dict[str, Any]:
    """Return since when the registry takes nobody down, and why it is to be read with care."""
    status = asked.once(_status)
    return {
        "held_since": status.mass_silence_since if status else None,
        "warning": asked.once(reads.registry).warning,
    }


def instances(asked: Question) -> dict[str, Any]:
    """Return every service with the strips of its instances, those that are gone last."""
    found = asked.once(history)
    return {
        "marks": found.shown.marks(),
        "range": asked.range(CHOICES),
        "service": asked.parameters.get("service", ""),
        "cut": MOST if found.is_cut else 0,
        "groups": asked.once(_groups),
    }


def cards(asked: Question) -> dict[str, Any]:
    """Return what each pin has to say."""
    inside = asked.once(history).inside()
    said = by_hand(inside)
    return {
        "cards": [
            {"change": each, "by_hand": said.get(each.key, ""), "cause": _short(each.cause)}
            for each in inside
        ]
    }


def changed(asked: Question) -> dict[str, Any]:
    """Return what changed within the range, newest first."""
    # Another reason for the same state has a pin, and is no news.
    known = (each for each in asked.once(history).inside() if each.previous != each.state)
    inside = list(islice(known, 4 * ENTRIES))
    said = by_hand(inside)
    grouped = groupby(inside, key=lambda each: (each.service, each.state, each.cause, each.at))
    entries = [_entry(list(some), said) for _, some in grouped][:ENTRIES]
    return {"entries": entries, "range": asked.range(CHOICES)}


def maintenance(asked: Question) -> dict[str, Any]:
    """Return what can be put into maintenance."""
    return {
        "services": _services(asked) if asked.may_operate and not asked.is_frozen else [],
        "service": asked.parameters.get("service", ""),
    }


def _services(asked: Question) -> list[ServiceView]:
    wanted = asked.parameters.get("service")
    services = asked.once(reads.registry).services
    return [each for each in services if not wanted or each.service.name == wanted]


def _status(_asked: Question) -> RegistryStatus | None:
    return registry_status.row().first()


def _groups(asked: Question) -> list[dict[str, Any]]:
    found = asked.once(history)
    shown = {each.service.name: each for each in _services(asked)}
    places = {*found.changes, *found.later}
    names = sorted({*shown, *(place.service for place in places)})
    answered = asked.once(probes)
    return [
        {
            "name": name,
            "view": shown.get(name),
            "probes": answered.get(name),
            **_lines(
                name, shown.get(name), {each for each in places if each.service == name}, asked
            ),
        }
        for name in names
    ]


def _lines(
    name: str, view: ServiceView | None, places: Iterable[Place], asked: Question
) -> dict[str, Any]:
    found = asked.once(history)
    present = [one for one in view.instances if one.registered_at <= asked.now] if view else []
    lines = [_present(Place(name, one.instance_id), one, view, asked) for one in present]
    here = {one.instance_id for one in present}
    gone = [
        _line(place, found, ABSENT)
        for place in places
        if place.instance_id and place.instance_id not in here
    ]
    # Those that were there at all within what is shown, the last to go first.
    gone = [each for each in gone if any(part.state for part in each.strip.segments)]
    gone.sort(key=lambda each: each.strip.pins[-1].x if each.strip.pins else 0.0, reverse=True)
    most = len(gone) if asked.parameters.get("gone") == "all" else GONE_SHOWN
    states = [each.state for each in (*lines, *gone) if each.state != ABSENT]
    return {
        "all": [*lines, *gone],
        "lines": [*lines, *gone[:most]],
        "more": max(0, len(gone) - most),
        "states": states,
        "up": states.count(State.UP),
        "answers": _answers(Place(name, ""), view, found),
    }


def _present(
    place: Place, instance: ServiceInstance, view: ServiceView | None, asked: Question
) -> Line:
    line = replace(_line(place, asked.once(history), instance.state), instance=instance)
    if asked.is_frozen or view is None:
        return line
    silent = max(0.0, (asked.now - instance.last_seen_at).total_seconds())
    return replace(
        line,
        state=view.state_of(instance).value,
        heard_seconds=silent,
        is_late=silent > configured().suspect_seconds,
    )


def _line(place: Place, found: History, otherwise: str) -> Line:
    changes = found.changes.get(place, ())
    otherwise = found.later.get(place, otherwise)
    shown = strip(changes, found.shown, otherwise=otherwise)
    day = strip(changes, found.day, otherwise=otherwise)
    return Line(place, shown, drawn(shown.segments), day.uptime, state=shown.state)


def _answers(place: Place, view: ServiceView | None, found: History) -> Line | None:
    """Return the strip of a service as it answers messages, if there is something to be seen."""
    last = str(view.service.last_health.get("state", "")) if view else ""
    line = _line(place, found, last)
    is_plain = not line.strip.pins and line.strip.state in (ABSENT, State.UP)
    return None if is_plain else line


def _since(lines: Iterable[Line], state: State) -> datetime | None:
    """Return since when the last of those that are in a state is; None: longer than is shown."""
    ends = [
        each.strip.pins[-1].change for each in lines if each.state == state and each.strip.pins
    ]
    return max((each.at for each in ends if each.state is state), default=None)


def _entry(changes: list[Change], said: Mapping[int, str]) -> Entry:
    return Entry(changes, next((said[each.key] for each in changes if said.get(each.key)), ""))


def _short(text: str) -> str:
    return text if len(text) <= CAUSE_CHARACTERS else f"{text[:CAUSE_CHARACTERS]}…"
