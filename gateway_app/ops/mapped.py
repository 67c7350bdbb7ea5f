"""What the map draws: nodes and edges as words and numbers, so that browsers only place them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.urls import reverse

from gateway_app.models import State
from gateway_app.ops import drawing, figures, grouping
from gateway_app.ops.edges import Flow, Key
from gateway_app.ops.question import Question
from gateway_app.registry.snapshot import ServiceView

#: Taken off the names of services, of which it says nothing.
_SUFFIX: Final = "-service"
#: What is drawn for messages of which it is not known who sent them, or of what type they are.
_OTHERS: Final = "others"
#: Arcs of a ring; of more instances it shows how they are divided.
_MOST_ARCS: Final = 12
#: Of edges in the table.
_ORDER: Final = {"failing": 0, "ok": 1, "idle": 2}


@dataclass(frozen=True, slots=True)
class Present:
    """What is known of services beside what flows; empty where the page is about the past."""

    services: Mapping[str, ServiceView] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    parked: Mapping[str, int] = field(default_factory=dict)
    growing: Iterable[str] = ()


@dataclass(slots=True)
class Drawn:
    """An edge of the map: one flow, or all those between two nodes of which one is a group."""

    key: Key
    flows: list[Flow]
    total: Flow
    #: The instant that it is about.
    now: datetime

    @property
    def name(self) -> str:
        """How addresses name it."""
        return str(self.key)

    @property
    def title(self) -> str:
        """What goes along it."""
        return self.key.type or (
            f"{len(self.flows)} flows" if self.is_group else f"{_OTHERS}: types unknown"
        )

    @property
    def is_group(self) -> bool:
        """Whether it stands for the flows of a group."""
        return grouping.is_group(self.key.source) or grouping.is_group(self.key.target)

    @property
    def share(self) -> str:
        """How many of its deliveries failed."""
        return figures.share(self.total.deliveries.failures, self.total.deliveries.count)

    @property
    def idle(self) -> str:
        """For how long nothing has gone along it; empty where that is not known."""
        if self.total.last_at is None:
            return ""
        seconds = max(60.0, (self.now - self.total.last_at).total_seconds())
        unit = 60.0 if seconds < 3600 else 3600.0
        return figures.duration_text(seconds // unit * unit)

    @property
    def text(self) -> str:
        """Its figures in a few words."""
        if self.total.state == "failing":
            return f"\N{MULTIPLICATION SIGN} {self.share} failing"
        if self.total.state == "idle":
            return f"idle {self.idle}".strip()
        slowest = figures.duration_text(self.total.slowest)
        return f"{''.join(figures.rate(self.total.rate))} · {slowest}"


def edges(flows: Sequence[Flow], drawn_as: Mapping[str, str], now: datetime) -> list[Drawn]:
    """Return the edges to draw, by name.

    Args:
        flows: sorted by name.
        drawn_as: by what each service is drawn, see `grouping.groups`.
        now: the instant that they are about.
    """
    found: dict[Key, list[Flow]] = {}
    for flow in flows:
        key = Key(drawn_as[flow.key.source], drawn_as[flow.key.target], flow.key.type)
        if grouping.is_group(key.source) or grouping.is_group(key.target):
            key = key._replace(type="")
        found.setdefault(key, []).append(flow)
    return [Drawn(key, parts, _total(key, parts), now) for key, parts in sorted(found.items())]


def failing_first(drawn: Iterable[Drawn]) -> list[Drawn]:
    """Return edges as the table has them: failing, then in use, then idle; else by name."""
    return sorted(drawn, key=lambda edge: (_ORDER[edge.total.state], edge.key))


def edge_json(edge: Drawn, asked: Question) -> dict[str, Any]:
    """Return an edge as the browser draws it."""
    flow = edge.total
    is_used = flow.state != "idle"
    return {
        "id": edge.name,
        "source": edge.key.source,
        "target": edge.key.target,
        "type": edge.key.type,
        "title": edge.title,
        "isEvent": flow.kind == "event",
        "priority": flow.priority,
        "state": flow.state,
        "text": edge.text,
        "width": _width(flow.rate) if is_used else 1,
        "particles": _particles(flow.rate) if is_used else 0,
        "url": asked.address(edge=edge.name),
        "label": f"{edge.title}, {shown_name(edge.key.source)} to {shown_name(edge.key.target)}: "
        f"{flow.priority} {flow.kind}, {edge.text}",
    }


def nodes(
    drawn: Iterable[Drawn], drawn_as: Mapping[str, str], present: Present, asked: Question
) -> list[dict[str, Any]]:
    """Return the nodes as the browser draws them, by name: services, and who else sends."""
    members: dict[str, list[str]] = {}
    for name, node in drawn_as.items():
        members.setdefault(node, []).append(name)
    handled: dict[str, float] = {}
    for edge in drawn:
        handled[edge.key.target] = handled.get(edge.key.target, 0.0) + edge.total.rate
    return [
        _node(node, members[node], present, handled.get(node, 0.0), asked)
        for node in sorted(members)
    ]


def shown_name(name: str) -> str:
    """Return what a node is called."""
    return name or _OTHERS


def _node(
    node: str, members: Sequence[str], present: Present, rate: float, asked: Question
) -> dict[str, Any]:
    views = [present.services[name] for name in members if name in present.services]
    states = [view.state_of(each) for view in views for each in view.instances]
    up = states.count(State.UP)
    parked = sum(present.parked.get(name, 0) for name in members)
    badge = {"css": "down", "text": f"{parked:,} parked"} if parked else None
    if badge is None and set(members) & set(present.growing):
        badge = {"css": "suspect", "text": "growing"}
    known = [present.waiting[name] for name in members if name in present.waiting]
    waiting = f"{sum(known):,} waiting" if known else f"{''.join(figures.rate(rate))} handled"
    if grouping.is_group(node):
        about = f"{len(members)} services"
        waiting = waiting if sum(known) or not known else ""
        url = asked.address(group=node.removesuffix(grouping.SIGN), edge=None)
    else:
        version = views[0].service.version if views else ""
        about = version if views or asked.is_frozen else "not registered"
        url = f"{reverse('ops:health')}?{urlencode({'service': node})}" if node else ""
    if not views and not asked.is_frozen:
        waiting = ""
    return {
        "id": node,
        "name": shown_name(node).removesuffix(_SUFFIX) or node,
        "text": " · ".join(filter(None, (about, waiting))),
        "up": f"{up}/{len(states)}" if views else "",
        "ring": drawing.ring(_arcs(states)) if views else [],
        "badge": badge,
        "url": url,
        "label": ", ".join(
            filter(
                None,
                (
                    shown_name(node),
                    f"{up} of {len(states)} instances up" if views else "",
                    about,
                    waiting,
                    badge["text"] if badge else "",
                ),
            )
        ),
    }


def _total(key: Key, flows: Sequence[Flow]) -> Flow:
    """Return flows as one; kind and priority are those of most of its messages."""
    if len(flows) == 1:
        only = flows[0]
        return Flow(key, only.kind, only.priority, only.deliveries, only.rate, only.last_at)
    most = max(flows, key=lambda flow: flow.deliveries.count)
    total = Flow(key, most.kind, most.priority)
    for flow in flows:
        total.deliveries.add(flow.deliveries)
        total.rate += flow.rate
    if not total.deliveries.count:
        total.last_at = max(filter(None, (flow.last_at for flow in flows)), default=None)
    return total


def _arcs(states: Sequence[State]) -> list[str]:
    if len(states) <= _MOST_ARCS:
        return [str(state) for state in states]
    arcs = []
    for kind in sorted(set(states), key=states.count, reverse=True):
        share = states.count(kind) / len(states)
        arcs += [str(kind)] * (round(_MOST_ARCS * share) or 1)
    return arcs


def _width(rate: float) -> float:
    """Return how wide an edge is, from one message a minute on; in steps, so that it stays."""
    return round(2 * min(4.5, 1 + math.log10(max(1.0, rate * 60)))) / 2


def _particles(rate: float) -> int:
    return 0 if not rate else max(1, min(4, 2 + math.floor(math.log10(rate))))
