"""A sequence diagram: who sent what to whom, in the order in which it was said."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_app.journeys.causes import Node, Tree
from gateway_app.journeys.journey import Journey

#: In units of the picture.
_APART: Final = 150
_MARGIN: Final = 75
_FIRST: Final = 58
_STEP: Final = 34
_BOTTOM: Final = 18
#: More is not drawn; the tree beside it has them.
MOST_ARROWS: Final = 40


@dataclass(frozen=True, slots=True)
class Said:
    """One delivery to be drawn."""

    at: datetime
    message_id: str
    type: str
    kind: str
    priority: str
    source: str
    target: str
    state: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """A delivery with its place."""

    said: Said
    x0: int
    x1: int
    y: int

    @property
    def head(self) -> str:
        """Points of the arrow's head."""
        back = -7 if self.x1 > self.x0 else 7
        return f"{self.x1},{self.y} {self.x1 + back},{self.y - 4} {self.x1 + back},{self.y + 4}"

    @property
    def label_x(self) -> int:
        """Where its text begins."""
        return min(self.x0, self.x1) + 8


@dataclass(frozen=True, slots=True)
class Diagram:
    """Everything that is drawn."""

    width: int
    height: int
    #: Name and middle of each service.
    lines: list[tuple[str, int]]
    arrows: list[Arrow]
    is_cut: bool


def diagram(known: Journey, tree: Tree) -> Diagram:
    """Return the conversation that a message is part of, as far as it is on record."""
    said = sorted(_said(known, tree), key=lambda each: each.at)
    shown = said[:MOST_ARROWS]
    names = list(dict.fromkeys(name for each in shown for name in (each.source, each.target)))
    middles = {name: _MARGIN + number * _APART for number, name in enumerate(names)}
    arrows = [
        Arrow(each, middles[each.source], _end(each, middles), _FIRST + number * _STEP)
        for number, each in enumerate(shown)
    ]
    return Diagram(
        width=2 * _MARGIN + max(0, len(names) - 1) * _APART,
        height=_FIRST + max(1, len(shown)) * _STEP + _BOTTOM,
        lines=list(middles.items()),
        arrows=arrows,
        is_cut=len(said) > len(shown),
    )


def _end(each: Said, middles: dict[str, int]) -> int:
    # What a service sends itself goes a little to the right.
    return middles[each.target] if each.target != each.source else middles[each.source] + 40


def _said(known: Journey, tree: Tree) -> Iterator[Said]:
    nodes = list(_flat(tree.roots))
    for node in nodes:
        yield Said(
            node.created_at,
            node.message_id,
            node.type,
            node.kind,
            node.priority,
            node.source,
            node.target or "all subscribers",
            node.state,
        )
    if any(node.message_id == known.message_id for node in nodes):
        return
    kind = known.envelope.kind.value if known.envelope else ""
    for row in known.received:
        yield Said(
            row.created_at,
            row.message_id,
            row.type,
            kind,
            row.priority,
            row.source,
            row.service,
            row.state,
        )
    received = {row.service for row in known.received}
    for letter in known.letters:
        if letter.service not in received and letter.source:
            at = known.envelope.created_at if known.envelope else letter.parked_at
            yield Said(
                at,
                letter.message_id,
                letter.type,
                kind,
                letter.priority,
                letter.source,
                letter.service,
                letter.state,
            )


def _flat(nodes: Iterable[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _flat(node.children)
