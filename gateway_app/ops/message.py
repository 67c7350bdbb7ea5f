"""One message: its facts, its story, its conversation, where its time went, what it says."""

from collections.abc import Iterator
from typing import Any, Final

from gateway_app import redaction, story
from gateway_app.journeys import Journey, causes, journey, waterfall
from gateway_app.ops.conversation import diagram
from gateway_app.ops.question import NotThere, Question

#: Of the picture of where the time went, in its units.
_WIDTH: Final = 640
_LANE: Final = 26
_LEFT: Final = 84


def facts(asked: Question) -> dict[str, Any]:
    """Return what it is."""
    known = asked.once(_journey)
    row: Any = next(iter((*known.sent, *known.received, *known.letters)))
    targets = [each.target or "all subscribers" for each in known.sent]
    targets = targets or [each.service for each in known.received]
    targets = targets or [each.service for each in known.letters]
    envelope = known.envelope
    return {
        "message": known,
        "source": row.source,
        "targets": list(dict.fromkeys(targets)),
        "kind": envelope.kind.value if envelope else "",
        "priority": row.priority,
        "created_at": envelope.created_at if envelope else getattr(row, "created_at", None),
        "expires_at": envelope.expires_at if envelope else None,
        "ordering_key": envelope.ordering_key if envelope else None,
        "correlation_id": envelope.correlation_id if envelope else "",
        "attempts": sum(
            1 if each.is_death else each.last - each.first + 1 for each in known.attempts
        ),
    }


def told(asked: Question) -> dict[str, Any]:
    """Return its story, as ``bus_explain`` tells it."""
    return {"story": story.tell(asked.arguments["message_id"])}


def conversation(asked: Question) -> dict[str, Any]:
    """Return the conversation that it is part of."""
    return {
        "diagram": diagram(asked.once(_journey), asked.once(_tree)),
        "message_id": asked.arguments["message_id"],
    }


def time(asked: Question) -> dict[str, Any]:
    """Return where its time went."""
    found = waterfall.stretches(asked.once(_journey), asked.now)
    drawn = [
        {
            "stretch": each.stretch,
            "x": round(_LEFT + each.left * _WIDTH, 1),
            "width": round(max(4.0, each.width * _WIDTH), 1),
            "y": waterfall.LANES.index(each.stretch.lane) * _LANE + 5,
            "is_wide": each.width * _WIDTH > 48,
        }
        for each in waterfall.squeezed(found)
    ]
    return {
        "drawn": drawn,
        "lanes": [(name, number * _LANE + 18) for number, name in enumerate(waterfall.LANES)],
        "lines": [number * _LANE for number in range(1, len(waterfall.LANES))],
        "width": _LEFT + _WIDTH + 6,
        "height": len(waterfall.LANES) * _LANE + 18,
        "began_at": found[0].began_at if found else None,
        "ended_at": max(each.ended_at for each in found) if found else None,
    }


def tree(asked: Question) -> dict[str, Any]:
    """Return what caused what, one line each."""
    known = asked.once(_tree)
    return {
        "lines": list(_lines(known.roots, 0)),
        "tree": known,
        "message_id": asked.arguments["message_id"],
    }


def attempts(asked: Question) -> dict[str, Any]:
    """Return every attempt on record."""
    return {"attempts": asked.once(_journey).attempts}


def payload(asked: Question) -> dict[str, Any]:
    """Return what it says, as far as whoever looks may see it."""
    envelope = asked.once(_journey).envelope
    if envelope is None:
        return {"text": None}
    shown, hidden = redaction.redacted(envelope.data, asked.may_see_payloads)
    return {"text": redaction.text_of(shown), "hidden": hidden}


def _journey(asked: Question) -> Journey:
    message_id = asked.arguments["message_id"]
    found = journey(message_id)
    if found is None:
        raise NotThere(
            f"No message {message_id} is on record here. Messages that are not under custody are "
            "kept only if they fail, or with the setting ledger at all."
        )
    return found


def _tree(asked: Question) -> causes.Tree:
    return causes.tree(asked.arguments["message_id"])


def _lines(nodes: list[causes.Node], depth: int) -> Iterator[tuple[int, causes.Node]]:
    for node in nodes:
        yield depth, node
        yield from _lines(node.children, depth + 1)
