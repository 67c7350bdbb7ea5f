"""Dead letters in groups by cause: what they are, how a replay of them goes, what was done."""

from datetime import datetime, timedelta
from typing import Any, Final

from gateway_app import deadletter_groups, deadletters, deploys, replay_runs
from gateway_app.deadletter_groups import Group
from gateway_app.models import (
    DeadLetter,
    DeadLetterState,
    ReplayRun,
    RunState,
)
from gateway_app.ops import letter_rows
from gateway_app.ops import operations as operations_done
from gateway_app.ops.paced import PacedBy
from gateway_app.ops.question import BadQuestion, Question
from messaging.envelope import utc_now

RANGES: Final = ("24h", "7d")
#: Groups, and letters of the chosen one, that are shown.
MOST_GROUPS: Final = 30
MOST_LETTERS: Final = 25
#: Marks in the trend of the chosen group.
MOST_DEPLOYS: Final = 5
#: Above this many, the number has to be typed.
TYPED_ABOVE: Final = 1_000
#: What does the same as the page's first button.
_COMMANDS: Final = {
    DeadLetterState.PARKED: "bus_replay_runs --start",
    DeadLetterState.REPLAYED: "bus_dead_letters --state replayed",
    DeadLetterState.DISCARDED: "bus_discard --undo",
}
_MOST_OPERATIONS: Final = 8
#: Of the bar of a run, in its units.
_BAR: Final = 600
#: Outcomes in the order of the bar, with what they look like.
_BAR_PARTS: Final = (
    ("handled", "up"),
    ("skipped", "suspect"),
    ("parked_again", "down"),
    ("sent", "sent"),
)
_LENGTHS: Final = {"24h": timedelta(hours=24), "7d": timedelta(days=7)}


def tabs(asked: Question) -> dict[str, Any]:
    """Return how many there are in each state."""
    counts = _counts.get((asked.range(RANGES), asked.parameters.get("service") or None)) or {}
    return {
        "tabs": [(state.value, state.label, counts.get(state.value)) for state in DeadLetterState],
        "state": _state(asked).value,
        "service": asked.parameters.get("service"),
        "type": asked.parameters.get("type"),
    }


def groups(asked: Question) -> dict[str, Any]:
    """Return the groups, the newest first."""
    chosen = asked.once(_chosen)
    return {
        "groups": asked.once(_groups),
        "chosen": chosen.fingerprint if chosen else "",
        "state": _state(asked).value,
        "range": asked.range(RANGES),
    }


def operations(asked: Question) -> dict[str, Any]:
    """Return what operators did last."""
    return {"operations": operations_done.last(_MOST_OPERATIONS, asked.now)}


def progress(asked: Question) -> dict[str, Any]:
    """Return how the runs of the chosen group go, the canary first."""
    group = asked.once(_chosen)
    runs = [_shown(run, asked.now) for run in asked.once(_runs) if group]
    return {"runs": runs, "back": asked.address()}


def group(asked: Question) -> dict[str, Any]:
    """Return the chosen group, what can be done with it, and its letters."""
    chosen = asked.once(_chosen)
    if chosen is None:
        read = _named if asked.parameters.get("group") else _groups
        is_read = asked.once(read) is not None
        return {"group": None, "state": _state(asked).value, "is_read": is_read}
    runs = asked.once(_runs)
    state = _state(asked)
    page = deadletter_groups.letters_of(
        chosen.fingerprint,
        state=state,
        since=_since(asked),
        after=_after(asked),
        most=MOST_LETTERS,
    )
    items = replay_runs.outcomes(runs[-1], page.letters) if runs else {}
    # Letters of a group share their cause: one of them stands for all.
    first = DeadLetter.objects.filter(fingerprint=chosen.fingerprint).order_by("-pk")
    trace = first.values_list("traceback", flat=True).first()
    is_running = any(run.state == RunState.RUNNING for run in runs)
    since = asked.now - _LENGTHS[asked.range(RANGES)]
    deployed = deploys.between(since, asked.now, chosen.service, MOST_DEPLOYS)
    return {
        "group": chosen,
        "state": state.value,
        "is_running": is_running,
        # Of the whole group, however old: a replay of all takes them all.
        "parked": _parked.get(chosen.fingerprint),
        "done_already": _done_already.get(chosen.fingerprint),
        "rows": [
            letter_rows.row(letter, items.get(letter.pk), is_running, asked)
            for letter in page.letters
        ],
        "next": page.after,
        # It may hold what messages say.
        "traceback": (trace or "") if asked.may_see_payloads else "",
        "command": f"manage.py {_COMMANDS[state]} --fingerprint {chosen.fingerprint}",
        "canary": replay_runs.CANARY,
        "deploys": deployed,
        "deploy_marks": [(each.at - since) / (asked.now - since) for each in deployed],
        "highest_rate": replay_runs.HIGHEST_RATE,
        "typed_above": TYPED_ABOVE,
        "back": asked.address(after=None),
        "may_edit": asked.may_operate and asked.may_see_payloads,
    }


def _shown(run: ReplayRun, now: datetime) -> dict[str, Any]:
    parts, place = [], 0.0
    for name, css in _BAR_PARTS:
        width = _BAR * getattr(run, name) / max(1, run.total)
        if width:
            parts.append((css, round(place, 1), round(width, 1)))
            place += width
    seconds = max(0.0, (run.next_at - now).total_seconds()) + run.to_go / run.rate
    return {
        "run": run,
        "is_running": run.state == RunState.RUNNING,
        "parts": parts,
        "width": _BAR,
        "seconds_left": seconds if run.to_go else None,
    }


def _runs(asked: Question) -> list[ReplayRun]:
    """Return the newest canary and the newest other run of the chosen group, as they began."""
    group = asked.once(_chosen)
    if group is None:
        return []
    rows = ReplayRun.objects.filter(fingerprint=group.fingerprint).order_by("-pk")[:10]
    newest: dict[bool, ReplayRun] = {}
    for run in rows:
        newest.setdefault(run.canary, run)
    return sorted(newest.values(), key=lambda run: run.pk)


def _groups(asked: Question) -> list[Group] | None:
    """Return the groups; None: they are being read."""
    wanted = (
        _state(asked),
        asked.range(RANGES),
        asked.parameters.get("service") or None,
        asked.parameters.get("type") or None,
    )
    return _groups_by.get(wanted)


def _read_groups(wanted: tuple[DeadLetterState, str, str | None, str | None]) -> list[Group]:
    state, length, service, message_type = wanted
    since = utc_now() - _LENGTHS[length]
    choice = {"since": since, "service": service, "type": message_type}
    return deadletter_groups.matching(choice, state, most=MOST_GROUPS)


def _read_named(wanted: tuple[str, str]) -> list[Group]:
    fingerprint, length = wanted
    found = deadletter_groups.one_group(fingerprint, utc_now() - _LENGTHS[length])
    return [found] if found else []


def _read_counts(wanted: tuple[str, str | None]) -> dict[str, int]:
    length, service = wanted
    return deadletter_groups.counts(utc_now() - _LENGTHS[length], service=service)


def _read_parked(fingerprint: str) -> int:
    wanted = {"fingerprint": fingerprint, "state": DeadLetterState.PARKED}
    return deadletters.find(wanted).count()


def _read_done_already(fingerprint: str) -> int:
    return replay_runs.done_already({"fingerprint": fingerprint})


_groups_by: Final = PacedBy(_read_groups, 1.0)
_named_by: Final = PacedBy(_read_named, 1.0)
_counts: Final = PacedBy(_read_counts, 1.0)
#: Who replays or discards all goes by this: as often as pages are looked at again.
_parked: Final = PacedBy(_read_parked, 0.5)
_done_already: Final = PacedBy(_read_done_already, 2.0)


def parked_lately() -> list[Group] | None:
    """Return the groups of what was parked within a day; None: they are being read."""
    return _groups_by.get((DeadLetterState.PARKED, RANGES[0], None, None))


def choice(asked: Question) -> dict[str, Any]:
    """Return what an address chooses, as `deadletters.FILTERS`.

    Raises:
        BadQuestion: a parameter makes no sense.
    """
    names = {"service": "service", "type": "type", "fingerprint": "group"}
    chosen = {name: asked.parameters.get(given) or None for name, given in names.items()}
    return {**chosen, "state": _state(asked), "since": _since(asked), "until": asked.now}


def changed() -> None:
    """Have everything read again when somebody looks next."""
    for paced in (_groups_by, _named_by, _counts, _parked, _done_already):
        paced.forget()


def _chosen(asked: Question) -> Group | None:
    """Return the group that the address names, else the first one."""
    found = asked.once(_groups) or []
    name = asked.parameters.get("group")
    if not name:
        return found[0] if found else None
    shown = next((each for each in found if each.fingerprint == name), None)
    return shown or next(iter(asked.once(_named) or ()), None)


def _named(asked: Question) -> list[Group] | None:
    """Return the group that the address names, if there is one; None: it is being read."""
    return _named_by.get((asked.parameters.get("group", ""), asked.range(RANGES)))


def _since(asked: Question) -> datetime:
    return asked.now - _LENGTHS[asked.range(RANGES)]


def _state(asked: Question) -> DeadLetterState:
    chosen = asked.parameters.get("state") or DeadLetterState.PARKED.value
    if chosen not in DeadLetterState.values:
        raise BadQuestion(f"state must be one of {', '.join(DeadLetterState.values)}")
    return DeadLetterState(chosen)


def _after(asked: Question) -> int:
    text = asked.parameters.get("after") or "0"
    if not text.isdecimal() or len(text) > 18:
        raise BadQuestion("after must be a whole number")
    return int(text)
