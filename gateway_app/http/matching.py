"""From method and path to a route: literals before parameters, the most specific route first.

Knows neither Django nor the database: a `RouteTree` is built from plain values and never changes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

#: Clients may ask for the head of whatever they may get.
_STANDS_IN: Final[Mapping[str, str]] = {"HEAD": "GET"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a route leads to."""

    method: str
    path: str
    service: str
    #: Type of the request; empty: no route of the bus.
    message: str


@dataclass(frozen=True, slots=True)
class Match:
    """A route and the values of the parameters in its path."""

    target: Target
    parameters: Mapping[str, str]


class NoSuchPath(LookupError):
    """No route has this path."""


class NoSuchMethod(LookupError):
    """Routes have this path, but none has the method.

    Attributes:
        allowed: the methods they have, sorted.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = sorted(allowed)
        super().__init__(f"allowed: {', '.join(self.allowed)}")


@dataclass(slots=True)
class _Node:
    """The routes that share the segments up to here."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    targets: dict[str, Target] = field(default_factory=dict)


class RouteTree:
    """Routes by the segments of their paths. Of two routes of one shape the first given counts."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._root = _Node()
        for target in targets:
            self._leaf(target.path).targets.setdefault(target.method, target)

    def match(self, method: str, path: str) -> Match:
        """Return the most specific route with this path and method.

        Args:
            method: in capitals.
            path: begins with a slash, percent-decoded. A trailing slash makes another path.

        Raises:
            NoSuchPath: no route has the path.
            NoSuchMethod: none of those that have it has the method.
        """
        segments = _segments(path)
        allowed: set[str] = set()
        for node in _leaves(self._root, segments):
            target = node.targets.get(method) or node.targets.get(_STANDS_IN.get(method, ""))
            if target is not None:
                return Match(target, _parameters(target.path, segments))
            allowed.update(node.targets)
        if not allowed:
            raise NoSuchPath(path)
        raise NoSuchMethod(allowed | {"HEAD"} if "GET" in allowed else allowed)

    def _leaf(self, path: str) -> _Node:
        node = self._root
        for segment in _segments(path):
            if _is_parameter(segment):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        return node


def _leaves(node: _Node, segments: list[str]) -> Iterator[_Node]:
    """Yield the nodes that segments lead to, most specific first."""
    if not segments:
        if node.targets:
            yield node
        return
    first, rest = segments[0], segments[1:]
    if first in node.literals:
        yield from _leaves(node.literals[first], rest)
    if node.parameter is not None and first:  # a parameter stands for something
        yield from _leaves(node.parameter, rest)


def _segments(path: str) -> list[str]:
    return path.removeprefix("/").split("/")


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _parameters(path: str, segments: list[str]) -> dict[str, str]:
    return {
        name[1:-1]: value
        for name, value in zip(_segments(path), segments, strict=True)
        if _is_parameter(name)
    }
