"""The Contracts page: who accepts and sends what, which versions run, and what does not fit."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from gateway_app.contracts.conflicts import Conflict, conflicts
from gateway_app.contracts.running import running_contracts
from gateway_app.ops.paced import Paced, Reading
from gateway_app.ops.question import Question
from messaging.contracts.checking import Grade
from messaging.contracts.contract import Contract
from messaging.contracts.differences import fields
from messaging.patterns import is_literal
from messaging.registration import INTERNAL

#: Between two comparisons of everything with everything.
EVERY_SECONDS: Final = 5.0
#: Messages and conflicts shown; more are counted.
MOST_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Side:
    """One version of a service that sends a message, or takes it."""

    contract: Contract
    #: Of its handler; what is sent has none.
    pattern: str
    #: Each field with a line that says what it is; None: no schema.
    fields: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One message type."""

    type: str
    #: ``event``, ``to one`` or, where nobody declares to send it, nothing.
    kind: str
    senders: list[Side]
    receivers: list[Side]
    #: ``fits``, ``breaks`` or ``cannot tell``; nothing: there is nothing to compare.
    grade: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a service."""

    contract: Contract
    #: Whether another one runs beside it.
    is_beside: bool
    schemas: int


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that the page shows."""

    versions: list[Version] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)


def fitting(asked: Question) -> dict[str, Any]:
    """Return what does not fit right now."""
    known, at = _asked(asked)
    breaking = [each for each in known.conflicts if each.finding.grade is Grade.BREAKS]
    return {
        "conflicts": known.conflicts[:MOST_ROWS],
        "left_out": max(len(known.conflicts) - MOST_ROWS, 0),
        "breaking": len(breaking),
        "compared": sum(bool(row.grade) for row in known.rows),
        "compared_at": at,
    }


def versions(asked: Question) -> dict[str, Any]:
    """Return the versions that run, those of one service beside each other."""
    known, _ = _asked(asked)
    return {"versions": known.versions, "service": asked.parameters.get("service")}


def messages(asked: Question) -> dict[str, Any]:
    """Return every message with its senders and receivers, what does not fit first."""
    known, _ = _asked(asked)
    return {"rows": known.rows[:MOST_ROWS], "left_out": max(len(known.rows) - MOST_ROWS, 0)}


def known_of(contracts: Iterable[Contract]) -> Known:
    """Return what the page shows of contracts."""
    each = list(contracts)
    found = conflicts(each)
    shown = [one for one in each if one.sends or one.accepts.keys() - INTERNAL]
    names = [one.service for one in shown]
    return Known(
        versions=[
            Version(
                contract,
                names.count(contract.service) > 1,
                sum(accepted.schema is not None for accepted in contract.accepts.values()),
            )
            for contract in shown
        ],
        rows=_rows(shown, found),
        conflicts=found,
    )


_known: Final = Paced(lambda: known_of(running_contracts()), EVERY_SECONDS)


def _asked(asked: Question) -> tuple[Known, Any]:
    """Return what the page shows of the service that was asked for, or of all."""
    reading = asked.once(_reading)
    if reading is None:
        return Known(), None
    wanted = asked.parameters.get("service")
    if not wanted:
        return reading.value, reading.at
    known = reading.value
    return Known(
        [each for each in known.versions if each.contract.service == wanted],
        [
            row
            for row in known.rows
            if any(side.contract.service == wanted for side in (*row.senders, *row.receivers))
        ],
        [each for each in known.conflicts if wanted in _services(each)],
    ), reading.at


def _reading(_asked: Question) -> Reading[Known] | None:
    return _known.get()


def _services(conflict: Conflict) -> tuple[str, str]:
    return conflict.sender.service, conflict.receiver.service


def _rows(contracts: list[Contract], found: list[Conflict]) -> list[Row]:
    types = {sent.type for each in contracts for sent in each.sends}
    types |= {
        pattern for each in contracts for pattern in each.accepts if is_literal(pattern)
    } - INTERNAL
    grades = {each.finding.type: each.finding.grade for each in reversed(found)}
    rows = [_row(message_type, contracts, grades.get(message_type)) for message_type in types]
    order = {Grade.BREAKS.value: 0, Grade.UNKNOWN.value: 1}
    return sorted(rows, key=lambda row: (order.get(row.grade, 2), row.type))


def _row(message_type: str, contracts: list[Contract], grade: Grade | None) -> Row:
    sent = [(each, one) for each in contracts for one in each.sends if one.type == message_type]
    targets = {one.to for _, one in sent}
    receivers = []
    for each in contracts:
        pattern = each.handler_of(message_type)
        # What is sent to one service alone is nothing to others that have a handler for it.
        if pattern is not None and (not targets or None in targets or each.service in targets):
            schema = each.accepts[pattern].schema
            receivers.append(Side(each, pattern, None if schema is None else fields(schema)))
    senders = [
        Side(each, "", None if one.schema is None else fields(one.schema)) for each, one in sent
    ]
    is_compared = any(side.fields is not None for side in senders) and any(
        side.fields is not None for side in receivers
    )
    fits = "fits" if is_compared else ""
    kind = "" if not sent else "event" if None in targets else "to one"
    return Row(message_type, kind, senders, receivers, fits if grade is None else grade.value)
