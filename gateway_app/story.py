"""One message's story in plain words, from all that this database knows of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_app.journeys.journey import Attempt, attempts_of
from gateway_app.models import AuditRecord, DeadLetter, DeadLetterState
from messaging.custody.owner import is_dead
from messaging.envelope import utc_now
from messaging.models import (
    OPEN,
    UNDER_WAY,
    UNENDED,
    InboxMessage,
    InboxState,
    OutboxMessage,
    OutboxState,
)

#: Of the text of a failed attempt's error; the message's page has all of it.
_ERROR_LENGTH: Final = 300


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened, or is so."""

    at: datetime | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is known of a message, and what to do."""

    lines: list[Line]
    #: Text for people; empty: nothing is left to be done.
    next_step: str


def tell(message_id: str) -> Story | None:
    """Return the story of a message; None if this database knows nothing of it."""
    sent = list(OutboxMessage.objects.filter(message_id=message_id).order_by("pk"))
    received = list(InboxMessage.objects.filter(message_id=message_id).order_by("pk"))
    letters = list(DeadLetter.objects.filter(message_id=message_id).order_by("parked_at"))
    if not (sent or received or letters):
        return None
    lines = [line for row in sent for line in _sent(row)]
    lines += [line for row in received for line in _received(row)]
    attempts = attempts_of(message_id, received)
    lines += [Line(each.ended_at, _failed(each)) for each in attempts if each.error]
    lines += [Line(letter.parked_at, _parked(letter)) for letter in letters]
    lines += [
        Line(record.at, f"{record.actor}: {record.action} at {record.service} ({record.detail})")
        for record in AuditRecord.objects.filter(message_id=message_id)
    ]
    known = sorted((line for line in lines if line.at), key=lambda line: str(line.at))
    unknown = [line for line in lines if not line.at]
    return Story(lines=known + unknown, next_step=_next_step(sent, received, letters))


def _sent(row: OutboxMessage) -> list[Line]:
    name = f"{row.priority} {row.kind} {row.type}"
    again = f", replay {row.generation}" if row.generation else ""
    to = row.target or "all subscribers"
    lines = [Line(row.created_at, f"{row.source} sent {name} to {to}{again}")]
    if row.published_at is not None:
        times = f", for the {row.publishes}th time" if row.publishes > 1 else ""
        lines.append(Line(row.published_at, f"the broker had it for {to}{times}"))
    if row.told_at is not None and row.told_at != row.settled_at:
        lines.append(Line(row.told_at, f"{to} said that it has it"))
    if row.settled_at is not None:
        why = f": {row.reason}" if row.reason else ""
        lines.append(Line(row.settled_at, f"{row.state} by {to}{why}"))
    elif row.state == OutboxState.QUEUED:
        lines.append(Line(None, f"{row.source}: {_behind(row)}"))
    elif row.last_error:
        lines.append(Line(None, f"last trouble in publishing it: {row.last_error}"))
    return lines


def _behind(row: OutboxMessage) -> str:
    """Say what a message waits for that is not the first of its ordering key."""
    others = OutboxMessage.objects.filter(target=row.target, ordering_key=row.ordering_key)
    first = others.filter(state__in=UNDER_WAY).values_list("message_id", "state").first()
    before = f": {first[0]} is {first[1]}" if first else ""
    return f"waits for those before it of ordering key {row.ordering_key!r}{before}"


def _received(row: InboxMessage) -> list[Line]:
    lines = []
    if row.begun_at is not None and row.state != InboxState.EXPIRED:
        lines.append(Line(row.begun_at, f"{row.service} began with it ({row.owner or 'no run'})"))
    if row.copies is not None:
        lines.append(Line(row.finished_at, f"{row.service} made {row.copies} copies"))
    if row.state == InboxState.WAITING:
        text = f"{row.attempts} attempts failed, the last with {row.last_error}"
        if not row.attempts:
            text = row.last_error or "waits"
        lines.append(Line(None, f"{row.service}: {text}; again at {row.due_at:%H:%M:%S}"))
    elif row.state in UNENDED:
        lines.append(Line(None, f"{row.service}: {row.state}"))
    elif row.finished_at is not None:
        lines.append(Line(row.finished_at, f"{row.service}: {row.state}"))
    return lines


def _failed(attempt: Attempt) -> str:
    version = f" {attempt.version}" if attempt.version else ""
    failed = "" if attempt.is_death else " failed"
    error = attempt.error[:_ERROR_LENGTH]
    return f"{attempt.service}{version}: {attempt.name}{failed}: {error}"


def _parked(letter: DeadLetter) -> str:
    attempts = f" after {letter.attempts} attempts" if letter.attempts else ""
    return f"{letter.service} gave it up{attempts}: {letter.reason}: {letter.error}"


def _next_step(
    sent: list[OutboxMessage], received: list[InboxMessage], letters: list[DeadLetter]
) -> str:
    for letter in letters:
        if letter.state == DeadLetterState.PARKED:
            return (
                f"mend what made {letter.service} fail, then: manage.py bus_replay --id "
                f"{letter.message_id} --service {letter.service}"
            )
    for row in received:
        if row.state == InboxState.WAITING:
            return f"none: {row.service} tries again by itself"
        if row.state == InboxState.RUNNING and is_dead(row.owner):
            return f"start {row.service}: the process that handled it is gone"
        if row.state in UNENDED:
            return f"none while {row.service} runs: it is being handled, or next in turn"
    for outbox_row in sent:
        if outbox_row.state in OPEN:
            return _next_for(outbox_row)
    return ""


def _next_for(row: OutboxMessage) -> str:
    if row.state == OutboxState.QUEUED:
        return f"none while {row.target} runs: it goes out when those before it are at their end"
    if row.held_at is not None:
        return f"start {row.target}: the message is held here until an instance of it serves"
    is_late = row.due_at is not None and (utc_now() - row.due_at).total_seconds() > 60
    if is_late:
        return "start a worker or bus_relay on this database: what is due is not being done"
    if row.state == OutboxState.PENDING:
        if row.due_at is not None and not row.publishes and row.due_at > utc_now():
            return f"none: it is due at {row.due_at:%Y-%m-%d %H:%M:%S} UTC"
        return "none: it is published as soon as the broker takes it"
    return f"see that {row.target} runs: it gets the message from its queue"
