"""What became of a conversation, told so that it can be compared: wherever, however long it took.

Facts of several processes come in any order between them, and copies of a message may go out more
than once. So a story leaves out when, how often published, and by whose relay. It keeps what a
service's author relies on: who said what to whom because of what, each attempt with its number,
and each end with its reason.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from messaging.registration import INTERNAL
from messaging.testing.facts import Fact, FactKind

_SAID: Final = {
    "command": "{source} tells {target}: {type}",
    "event": "{source} announces: {type}",
    "request": "{source} asks {target}: {type}",
    "reply": "{source} answers {target}: {type}",
}


def story(
    facts: Iterable[Fact], effects: Mapping[tuple[str, str], int] | None = None
) -> list[str]:
    """Return a conversation as lines: what was said, and below it what each service made of it.

    Args:
        facts: of one conversation. Attempts are told by their numbers: of a worker's threads, one
            may note a failed attempt after another has begun with the next.
        effects: by message id and service, how often a handler's effect is there.
    """
    said: dict[str, Fact] = {}
    made: dict[str, dict[str, list[str]]] = {}
    for fact in sorted(facts, key=_number):
        if fact.type in INTERNAL:
            continue
        if fact.kind is FactKind.PUBLISHED:
            said.setdefault(fact.message_id, fact)
        elif (line := _line(fact)) is not None:
            made.setdefault(fact.message_id, {}).setdefault(fact.service, []).append(line)
    for (message_id, service), count in (effects or {}).items():
        lines = made.setdefault(message_id, {}).setdefault(service, [])
        lines.append(f"{service} has done it {count} times" if count > 1 else f"{service} did it")
    told: list[str] = []
    for message_id in sorted(said, key=lambda each: _place(said[each], said)):
        told.append(_SAID[said[message_id].said_as].format(**_names(said[message_id])))
        for _, lines in sorted(made.get(message_id, {}).items()):
            told += [f"  {line}" for line in lines]
    return told


def _place(fact: Fact, said: Mapping[str, Fact]) -> tuple[tuple[str, str, str], ...]:
    """Return where a message belongs: behind what caused it, beside its like by name."""
    own = (fact.type, fact.said_as, fact.target)
    cause = said.get(fact.causation_id or "")
    return (own,) if cause is None else (*_place(cause, said), own)


def _number(fact: Fact) -> tuple[float, int]:
    if fact.kind is FactKind.RETRIED:
        return fact.attempt, 0
    return (fact.attempt, 1) if fact.kind is FactKind.FAILED else (math.inf, 0)


def _names(fact: Fact) -> dict[str, str]:
    return {"source": fact.source, "target": fact.target, "type": fact.type}


def _line(fact: Fact) -> str | None:
    by = fact.service
    match fact.kind:
        case FactKind.FAILED:
            return f"{by} fails at attempt {fact.attempt}: {fact.error}"
        case FactKind.RETRIED:
            return f"{by} tries again later, as attempt {fact.attempt}"
        case FactKind.HANDLED:
            return f"{by} handles it"
        case FactKind.PARKED:
            return f"{by} parks it: {fact.reason}"
        case FactKind.EXPIRED:
            return f"{by} finds it expired"
    return None
