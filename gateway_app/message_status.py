"""How far one message has come, for programs: three queries by its id, nothing of what it says.

In words for people, with all that happened: `story`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from gateway_app.bus import communicator
from gateway_app.models import DeadLetter, DeadLetterState
from messaging.deadletter import DeadLetterReason
from messaging.envelope import MessageKind
from messaging.models import UNENDED, InboxMessage, InboxState, OutboxMessage, OutboxState

#: What `OutboxState` is called towards those who wait for an outcome.
_STATES: Final[Mapping[str, str]] = {
    OutboxState.QUEUED: "accepted",
    OutboxState.PENDING: "accepted",
    OutboxState.PUBLISHED: "published",
    OutboxState.ACCEPTED: "received",
}
#: A broadcast is as far as the first of these that a copy of it is in: open ones, then what went
#: wrong, then what went well.
STATES: Final = (
    *("accepted", "published", "received"),
    *("parked", "expired", "resolved", "handled"),
)


R = TypeVar("R", OutboxMessage, InboxMessage, DeadLetter)


def status_of(message_id: str) -> dict[str, Any] | None:
    """Return how far a message has come; None if this database knows nothing of it.

    Returns:
        ``{id, type, source, target, priority, state, created_at, settled_at, reason, detail}``.
        ``state`` is accepted, published or received, or one of the ends handled, parked, expired
        and resolved; ``reason`` is that of the dead letter, if there is one; ``detail`` is text
        for people. A broadcast has no target and ``copies`` instead, one for each receiver.
    """
    of_it = {"message_id": message_id}
    sent = list(OutboxMessage.objects.filter(**of_it).defer("envelope").order_by("pk"))
    received = list(InboxMessage.objects.filter(**of_it).defer("envelope"))
    letters = list(
        DeadLetter.objects.filter(**of_it).defer("envelope_json", "raw_body", "traceback")
    )
    rows: list[OutboxMessage | InboxMessage | DeadLetter] = [*sent, *received, *letters]
    if not rows:
        return None
    copies = {
        name: _copy(
            name,
            _newest(row for row in sent if row.target == name),
            _newest(row for row in received if row.service == name),
            _newest(row for row in letters if row.service == name),
        )
        for name in _receivers(sent, received, letters)
    }
    said = {
        "id": message_id,
        "type": rows[0].type,
        "source": rows[0].source,
        "priority": rows[0].priority,
        "created_at": _created_at(sent, received, letters).isoformat(),
    }
    if _is_broadcast(sent, letters, copies):
        return said | {"target": None} | _of_all(copies)
    # A command has one receiver; where an operator sent it to another one, it is the last.
    return said | list(copies.values())[-1]


def _receivers(
    sent: Iterable[OutboxMessage],
    received: Iterable[InboxMessage],
    letters: Iterable[DeadLetter],
) -> list[str]:
    """Return the services it went to, in the order in which it did."""
    names = [row.target for row in sent]
    names += sorted({row.service for row in received} | {row.service for row in letters})
    return list(dict.fromkeys(names))


def _is_broadcast(
    sent: Sequence[OutboxMessage], letters: Sequence[DeadLetter], copies: Mapping[str, Any]
) -> bool:
    if sent:
        return any(row.kind == MessageKind.EVENT for row in sent)
    return len(copies) > 1 or bool(letters and _said_in(letters[0], "kind") == MessageKind.EVENT)


def _created_at(
    sent: Sequence[OutboxMessage],
    received: Sequence[InboxMessage],
    letters: Sequence[DeadLetter],
) -> datetime:
    if sent:
        return sent[0].created_at
    if received:
        return received[0].created_at
    said = _said_in(letters[0], "created_at")
    return datetime.fromisoformat(said) if said else letters[0].parked_at


def _said_in(letter: DeadLetter, name: str) -> str:
    return str((letter.envelope or {}).get(name, ""))


def _newest(rows: Iterable[R]) -> R | None:
    """Return the row of the last replay."""
    return max(rows, key=lambda row: row.generation, default=None)


def _of(generation: int, row: R | None) -> R | None:
    return row if row is not None and row.generation == generation else None


def _copy(
    target: str,
    sent: OutboxMessage | None,
    received: InboxMessage | None,
    letter: DeadLetter | None,
) -> dict[str, Any]:
    """Return how far the message is for one service: what is known of its last generation."""
    last = max(row.generation for row in (sent, received, letter) if row is not None)
    letter = _of(last, letter)
    state, settled_at, detail = _standing(_of(last, sent), _of(last, received), letter)
    return {
        "target": target,
        "state": state,
        "settled_at": settled_at and settled_at.isoformat(),
        "reason": letter.reason if letter is not None else None,
        "detail": detail,
    }


def _standing(
    sent: OutboxMessage | None, received: InboxMessage | None, letter: DeadLetter | None
) -> tuple[str, datetime | None, str]:
    """Return state, end and detail. An end counts, whoever knows of it; else who is further.

    Not in the detail: what handlers and operators wrote, which may quote the payload.
    """
    if sent is not None and sent.settled_at is not None:
        return sent.state, sent.settled_at, _end(sent.state, letter)
    if received is not None and received.state not in UNENDED:
        return received.state, received.finished_at, _end(received.state, letter)
    if letter is not None:
        is_late = letter.reason == DeadLetterReason.EXPIRED and not letter.may_have_been_handled
        state = OutboxState.EXPIRED if is_late else OutboxState.PARKED
        return state.value, letter.parked_at, _end(state, letter)
    if received is not None:
        return _STATES[OutboxState.ACCEPTED], None, _under_way(received)
    assert sent is not None
    return _STATES[sent.state], None, _waiting(sent)


def _end(state: str, letter: DeadLetter | None) -> str:
    if state == OutboxState.RESOLVED:
        return "ended by an operator"
    if state == OutboxState.HANDLED:
        return ""
    given_up = "not handled in time" if state == OutboxState.EXPIRED else "given up"
    if letter is None:
        return given_up
    if letter.attempts:
        given_up += f" after {letter.attempts} attempts"
    return given_up if letter.state == DeadLetterState.PARKED else f"{given_up}, {letter.state}"


def _under_way(row: InboxMessage) -> str:
    if row.state == InboxState.WAITING and not row.attempts:
        return "waits for another one of its ordering key, or for one that may kill the process"
    if row.state == InboxState.WAITING and row.due_at is not None:
        return f"{row.attempts} attempts failed, again at {row.due_at:%H:%M:%S} UTC"
    if row.state == InboxState.RUNNING:
        return "being handled"
    return "next in turn"


def _waiting(row: OutboxMessage) -> str:
    if row.state == OutboxState.ACCEPTED:
        return f"{row.target} has it"
    if row.state == OutboxState.PUBLISHED:
        return f"on the broker, published {row.publishes} times; no word from {row.target} yet"
    if row.state == OutboxState.QUEUED:
        return "waits for those before it of its ordering key"
    if row.held_at is not None:
        return f"held since {row.held_at:%H:%M:%S} UTC: {row.target} is down"
    if row.failures:
        return f"refused by the broker {row.failures} times, tried again"
    return "waits to be published"


def _of_all(copies: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return how far a broadcast is: the gateway with making copies, then the last of them."""
    whole = {"", communicator.name}
    made = [copy for name, copy in copies.items() if name not in whole]
    before = [copy for name, copy in copies.items() if name in whole]
    shown = next((copy for copy in before if copy["state"] != "handled"), None)
    if shown is None:
        shown = min(made or before, key=lambda copy: STATES.index(copy["state"]))
        ends = [copy["settled_at"] for copy in made or before]
        shown = {
            "state": shown["state"],
            "settled_at": max(ends) if all(ends) else None,
            "reason": shown["reason"],
            "detail": _sum(made),
        }
    return {**shown, "target": None, "copies": made}


def _sum(made: Sequence[Mapping[str, Any]]) -> str:
    if not made:
        return "no service had subscribed"
    handled = sum(copy["state"] == "handled" for copy in made)
    return f"{handled} of {len(made)} copies handled"
