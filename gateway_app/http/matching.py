"""From method and path to a route: literals before parameters, the most specific route first.

Knows neither Django nor the database: a `RouteTree` is built from plain values and never changes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from messaging import MessagePriority

#: Clients may ask for the head of whatever they may get.
_STANDS_IN: Final[Mapping[str, str]] = {"HEAD": "GET"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a route leads to, and what its service wants observed on the way.

    Of the limits None means: the gateway's own.
    """

    method: str
    path: str
    service: str
    #: Type of the request; empty: HTTP requests are proxied to an instance.
    message: str
    #: Of the messages; None: HIGH for a request, NORMAL for a durable message.
    priority: MessagePriority | None = None
    timeout_seconds: float | None = None
    #: Requests a second of one client.
    rate: float | None = None
    #: Requests at one time in one process of the gateway.
    concurrency: int | None = None
    max_body_bytes: int | None = None
    #: Whether callers need a token: ``token`` or ``none``.
    auth: str | None = None


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

    def match(self, method: str, segments: Sequence[str]) -> Match:
        """Return the most specific route with this path and method.

        Args:
            method: in capitals.
            segments: of the path, decoded. A trailing slash makes an empty one, which no route
                has.

        Raises:
            NoSuchPath: no route has the path.
            NoSuchMethod: none of those that have it has the method.
        """
        allowed: set[str] = set()
        for node in _leaves(self._root, segments, 0):
            target = node.targets.get(method) or node.targets.get(_STANDS_IN.get(method, ""))
            if target is not None:
                return Match(target, _parameters(target.path, segments))
            allowed.update(node.targets)
        if not allowed:
            raise NoSuchPath("/" + "/".join(segments))
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


def _leaves(node: _Node, segments: Sequence[str], depth: int) -> Iterator[_Node]:
    """Yield the nodes that the segments from a depth on lead to, most specific first."""
    if depth == len(segments):
        if node.targets:
            yield node
        return
    segment = segments[depth]
    if segment in node.literals:
        yield from _leaves(node.literals[segment], segments, depth + 1)
    if node.parameter is not None and segment:  # a parameter stands for something
        yield from _leaves(node.parameter, segments, depth + 1)


def parameter_names(path: str) -> tuple[str, ...]:
    """Return the names of the parameters in a route's path, in order."""
    return tuple(segment[1:-1] for segment in _segments(path) if _is_parameter(segment))


def _segments(path: str) -> list[str]:
    return path.removeprefix("/").split("/")


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _parameters(path: str, segments: Sequence[str]) -> dict[str, str]:
    return {
        name[1:-1]: value
        for name, value in zip(_segments(path), segments, strict=True)
        if _is_parameter(name)
    }
