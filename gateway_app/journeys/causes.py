"""What led to a message, and what it led to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from messaging import codec
from messaging.errors import DecodeError
from messaging.models import InboxMessage, OutboxMessage

#: Messages in a tree, and steps up to its root.
MOST: Final = 100
MOST_STEPS: Final = 20


@dataclass(slots=True)
class Node:
    """One message for one service, with what was sent during its handling."""

    message_id: str
    type: str
    kind: str
    source: str
    #: Empty: to all subscribers.
    target: str
    priority: str
    state: str
    created_at: datetime
    ended_at: datetime | None
    children: "list[Node]" = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """From sent to its end; None: it has not come to one."""
        if self.ended_at is None:
            return None
        return max(0.0, (self.ended_at - self.created_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree that a message is in, as far as it is on record."""

    roots: list[Node]
    #: Id of the message that led to the roots and is not on record; empty: none.
    not_kept: str
    #: Whether there is more than `MOST`.
    is_cut: bool


def tree(message_id: str) -> Tree:
    """Return the tree from the first message on record down; a query for each level."""
    root_id, not_kept = _root_of(message_id)
    rows = list(OutboxMessage.objects.filter(message_id=root_id).order_by("pk")[:MOST])
    roots = _nodes(rows)
    seen = {root_id}
    level, count, is_cut = roots, len(roots), False
    while level and count < MOST:
        parents: dict[str, list[Node]] = {}
        for node in level:
            parents.setdefault(node.message_id, []).append(node)
        found = OutboxMessage.objects.filter(causation_id__in=list(parents)).order_by("pk")
        rows = [row for row in found[: MOST - count + 1] if row.message_id not in seen]
        is_cut = len(rows) > MOST - count
        rows = rows[: MOST - count]
        level = _nodes(rows)
        for row, node in zip(rows, level, strict=True):
            # Sent during the handling at its source, where that is one of several.
            candidates = parents[row.causation_id]
            parent = next((each for each in candidates if each.target == row.source), None)
            (parent or candidates[0]).children.append(node)
        seen |= {row.message_id for row in rows}
        count += len(rows)
    return Tree(roots, not_kept, is_cut)


def _root_of(message_id: str) -> tuple[str, str]:
    """Return the id of the first message on record, and of the one before, which is not."""
    current, seen = message_id, {message_id}
    for _ in range(MOST_STEPS):
        cause = _cause_of(current)
        if not cause or cause in seen:
            return current, ""
        if not OutboxMessage.objects.filter(message_id=cause).exists():
            return current, cause
        current = cause
        seen.add(cause)
    return current, ""


def _cause_of(message_id: str) -> str:
    causes = OutboxMessage.objects.filter(message_id=message_id).values_list("causation_id")
    found = causes.order_by("pk").first()
    if found is not None:
        return str(found[0])
    text = InboxMessage.objects.filter(message_id=message_id).values_list("envelope").first()
    try:
        return (codec.decode(text[0]).causation_id or "") if text and text[0] else ""
    except DecodeError:
        return ""


def _nodes(rows: Iterable[OutboxMessage]) -> list[Node]:
    return [
        Node(
            message_id=row.message_id,
            type=row.type,
            kind=row.kind,
            source=row.source,
            target=row.target,
            priority=row.priority,
            state=row.state,
            created_at=row.created_at,
            ended_at=row.settled_at,
        )
        for row in rows
    ]
