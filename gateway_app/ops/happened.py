"""What happened last: transitions, what operators did, and what was parked first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_app import deploys
from gateway_app.models import AuditRecord, HealthRecord, State

_STATE_ICONS: Final = {
    State.UP: "circle-check",
    State.SUSPECT: "triangle-alert",
    State.DOWN: "octagon-x",
    State.MAINTENANCE: "circle-pause",
    State.UNKNOWN: "circle-dashed",
}
_ACTION_ICONS: Final = {
    "replay": "rotate-ccw",
    "restore": "undo-2",
    "discard": "trash-2",
    "maintenance": "circle-pause",
    "edit": "pencil",
    "pause": "circle-pause",
    "drain": "circle-pause",
    "resume": "play",
    deploys.ACTION: "package",
    "reveal": "eye",
}


#: Records among which transitions are looked for: a busy service has many that are none.
LOOKED_AT: Final = 300


@dataclass(frozen=True, slots=True)
class Event:
    """One line."""

    at: datetime
    icon: str
    css: str
    #: What it is about; may be empty.
    subject: str
    #: What is to be read first.
    strong: str
    text: str
    #: Who says so.
    source: str
    #: Of the message it is about; empty: of none.
    message_id: str = ""
    #: Names it on the page, so that what moves down the list stays the same.
    key: str = ""


def last(most: int, before: datetime) -> list[Event]:
    """Return what happened last, the newest first, in two queries on indexes."""
    recent = HealthRecord.objects.filter(at__lte=before).select_related("service")[:LOOKED_AT]
    # Another reason for the same state is on the Health page, and no event.
    transitions = [row for row in recent if row.previous_state != row.state][:most]
    done = AuditRecord.objects.filter(at__lte=before)[:most]
    found = [*_transitions(transitions), *_actions(done)]
    return sorted(found, key=lambda event: event.at, reverse=True)[:most]


def _transitions(records: Iterable[HealthRecord]) -> Iterator[Event]:
    for record in records:
        name = record.service.name
        if record.instance_id:
            name = f"{name} {record.instance_id[:8]}"
        yield Event(
            at=record.at,
            icon=_STATE_ICONS[State(record.state)],
            css=record.state.lower(),
            subject=name,
            strong=f"{record.previous_state or 'new'} → {record.state}",
            text=record.cause,
            source="registry",
            key=f"h{record.pk}",
        )


def _actions(records: Iterable[AuditRecord]) -> Iterator[Event]:
    for record in records:
        yield Event(
            at=record.at,
            icon=_ACTION_ICONS.get(record.action, "wrench"),
            css="muted",
            subject=record.service,
            strong=record.action,
            text=record.detail,
            source=record.actor,
            message_id=record.message_id,
            key=f"a{record.pk}",
        )
