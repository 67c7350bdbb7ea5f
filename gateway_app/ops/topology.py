"""The Topology page: who talks to whom, what of it fails, and what was at any time of a day."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.utils.safestring import SafeString, mark_safe

from gateway_app.flow import overall, present, queues
from gateway_app.flow.rows import Deliveries
from gateway_app.models import Resolution
from gateway_app.ops import drawing, edge_history, edges, grouping, mapped, reads
from gateway_app.ops.edges import Flow, Key
from gateway_app.ops.mapped import Drawn
from gateway_app.ops.paced import Paced
from gateway_app.ops.question import RANGES, Question
from messaging.envelope import utc_now
from messaging.histogram import Histogram, quantile

CHOICES: Final = tuple(edge_history.STEPS)
#: Of the slider.
DAY: Final = timedelta(hours=24)
BIN: Final = timedelta(minutes=10)
BINS: Final = int(DAY / BIN)
#: Of its picture, gap included.
BIN_WIDTH: Final = 5
LEAST_RED: Final = 3.0
#: Flows of a group that its panel lists.
MOST_LISTED: Final = 40
#: What waited is looked at every half minute.
_LOOK: Final = timedelta(minutes=1)
#: As `json_script` does: it cannot end the element it is in.
_ESCAPES: Final = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


@dataclass(frozen=True, slots=True)
class Map:
    """What the regions of one look have in common."""

    flows: Sequence[Flow]
    drawn: Sequence[Drawn]
    nodes: Sequence[dict[str, Any]]
    is_grouped: bool


@dataclass(frozen=True, slots=True)
class Bin:
    """A stretch of the slider, and the bar that it is."""

    at: datetime
    count: int
    failures: int
    x: int
    y: float
    height: float

    @property
    def failed_height(self) -> float:
        """How much of it is red: at least enough to be seen."""
        if self.failures < edges.LEAST_FAILURES:
            return 0.0
        return round(max(LEAST_RED, self.height * self.failures / self.count), 1)


def _read_window() -> present.Present:
    return present.look(utc_now(), edges.WINDOW.total_seconds())


def _read_last(range_: str) -> dict[Key, edges.LastFlowed]:
    return edges.last_flowed(RANGES[range_], utc_now())


_window: Final = Paced(_read_window, 1.0)
_last: Final = {name: Paced(partial(_read_last, name), 10.0) for name in CHOICES}
_volume: Final = Paced(lambda: volume(utc_now()), 10.0)


def map_data(asked: Question) -> dict[str, Any]:
    """Return nodes and edges for the browser to draw."""
    known = asked.once(_map)
    data = {
        "nodes": known.nodes,
        "edges": [mapped.edge_json(edge, asked) for edge in known.drawn],
        "chosen": _chosen_name(known, asked),
    }
    return {"data": _as_text(data), "is_empty": not known.nodes}


def panel(asked: Question) -> dict[str, Any]:
    """Return what is known of the edge that the address names; nothing where it names none."""
    key = _key(asked)
    if key is None:
        return {"key": None}
    known = asked.once(_map)
    drawn = next((edge for edge in known.drawn if edge.key == key), None)
    if drawn is not None and drawn.is_group:
        flows = sorted(drawn.flows, key=lambda flow: (not flow.is_failing, -flow.rate, flow.key))
        listed = [Drawn(flow.key, [flow], flow, asked.now) for flow in flows[:MOST_LISTED]]
        return {"key": key, "group": listed, "more": len(flows) - len(listed)}
    flow = next((flow for flow in known.flows if flow.key == key), None)
    range_ = asked.range(CHOICES)
    if asked.is_frozen:
        history: edge_history.History | None = edge_history.read(key, range_, asked.now)
    else:
        reading = edge_history.shared(key, range_)
        history = reading.value if reading else None
    # Of the last minutes; of the whole range where it is idle.
    deliveries = flow.deliveries if flow else Deliveries()
    if history and not deliveries.count:
        deliveries = history.total
    return {
        "key": key,
        "edge": Drawn(key, [flow], flow, asked.now) if flow else None,
        "history": history,
        "range": range_,
        "wait": _quantiles(deliveries.waiting),
        "handling": _quantiles(deliveries.handling),
        "last_error": deliveries.last_error or (history.total.last_error if history else ""),
    }


def slider(asked: Question) -> dict[str, Any]:
    """Return a day of volume and failures, which ends now or not long after what is shown."""
    now = utc_now()
    if now - asked.now > DAY:
        bins = volume(min(now, asked.now + DAY / 2))
    else:
        reading = _volume.get()
        bins = reading.value if reading else []
    began_at = bins[0].at if bins else now - DAY
    return {
        "bins": bins,
        "began_at": began_at,
        "ended_at": began_at + DAY,
        "is_today": began_at + DAY + BIN > now,
        "width": BINS * BIN_WIDTH,
        "step_seconds": int(BIN.total_seconds()),
        "is_empty": bool(bins) and not any(each.count for each in bins),
    }


def table(asked: Question) -> dict[str, Any]:
    """Return the edges of the map as a table."""
    known = asked.once(_map)
    return {
        "rows": mapped.failing_first(known.drawn),
        "is_grouped": known.is_grouped,
        "group": asked.parameters.get("group", ""),
        "chosen": _chosen_name(known, asked),
        "range": asked.range(CHOICES),
        "nodes": len(known.nodes),
    }


def volume(ended_at: datetime) -> list[Bin]:
    """Return what was handled in each `BIN` of the day that ends with the one of an instant."""
    seconds = BIN.total_seconds()
    end = datetime.fromtimestamp((ended_at.timestamp() // seconds + 1) * seconds, ended_at.tzinfo)
    began_at = end - DAY
    counts, failures = [0] * BINS, [0] * BINS
    for at, _, deliveries in overall.between(Resolution.MINUTE, began_at, end):
        number = int((at - began_at) / BIN)
        counts[number] += deliveries.count
        failures[number] += deliveries.failures
    return [
        Bin(
            began_at + BIN * number,
            counts[number],
            failures[number],
            number * BIN_WIDTH,
            bar.y,
            bar.height,
        )
        for number, bar in enumerate(drawing.bars(counts))
    ]


def _map(asked: Question) -> Map:
    range_ = asked.range(CHOICES)
    if asked.is_frozen:
        flowing = edges.flowed_at(asked.now, utc_now())
        last = edges.last_flowed(RANGES[range_], asked.now)
        # Which instances there were, and what was parked, is shown of the present alone.
        waited = queues.counts_between(asked.now - _LOOK, asked.now)
        known = mapped.Present(
            waiting={name: series[-1] for name, series in waited.items()},
            growing=queues.growing(asked.now),
        )
    else:
        flowing, last = _flowing_now(asked), _known_last(range_)
        known = _present(asked)
    flows = edges.with_idle(flowing, last)
    names = {view.service.name for view in asked.once(reads.registry).services}
    names.update(name for flow in flows for name in (flow.key.source, flow.key.target))
    pairs = {(flow.key.source, flow.key.target) for flow in flows}
    drawn_as = grouping.groups(names, pairs, asked.parameters.get("group", ""))
    drawn = mapped.edges(flows, drawn_as, asked.now)
    return Map(
        flows=flows,
        drawn=drawn,
        nodes=mapped.nodes(drawn, drawn_as, known, asked),
        is_grouped=any(map(grouping.is_group, drawn_as.values())),
    )


def _flowing_now(asked: Question) -> dict[Key, Flow]:
    window = _window.get()
    now = asked.once(reads.flowing)
    seconds = window.value.seconds if window else now.seconds
    known = window.value.edges if window else now.edges
    return edges.flowing(known, seconds, now.edges, now.seconds)


def _known_last(range_: str) -> dict[Key, edges.LastFlowed]:
    known = _last[range_].get()
    return known.value if known else {}


def _present(asked: Question) -> mapped.Present:
    waiting = asked.once(reads.waiting)
    return mapped.Present(
        services={view.service.name: view for view in asked.once(reads.registry).services},
        waiting={name: each.waiting for name, each in waiting.value.depths.items()}
        if waiting
        else {},
        parked={name: each.count for name, each in asked.once(reads.parked).items()},
        growing=asked.once(reads.growing),
    )


def _key(asked: Question) -> Key | None:
    named = asked.parameters.get("edge")
    return Key.parse(named) if named else None


def _chosen_name(known: Map, asked: Question) -> str:
    """Return the drawn edge that the one which was chosen is, or is part of."""
    key = _key(asked)
    for edge in known.drawn:
        if edge.key == key or any(flow.key == key for flow in edge.flows):
            return edge.name
    return ""


def _quantiles(counts: Histogram) -> tuple[float | None, float | None]:
    return quantile(counts, 0.5), quantile(counts, 0.95)


def _as_text(data: Any) -> SafeString:
    return mark_safe(json.dumps(data, separators=(",", ":")).translate(_ESCAPES))  # nosec B308
