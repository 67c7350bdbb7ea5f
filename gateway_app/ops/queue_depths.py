"""Queues: what waits for whom, for how long, and whether it will ever be empty."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import Count, Q, Sum

from gateway_app import deploys
from gateway_app.bus import communicator
from gateway_app.deploys import Deploy
from gateway_app.flow import queues
from gateway_app.models import FlowSummary, HealthRecord, QueueLook, Resolution, State
from gateway_app.ops import reads
from gateway_app.ops.paced import Paced
from gateway_app.ops.question import Question
from gateway_app.ops.queue_history import SCALES, Histories, bands, rates, split
from gateway_app.ops.queue_rows import Row, pieces, sentence, worst, worst_first
from gateway_app.pausing import MAX_REASON
from gateway_app.registry.verdicts import DEREGISTERED
from messaging import MessageBus
from messaging.depths import NOTHING, Depth
from messaging.envelope import utc_now
from messaging.models import OutboxMessage

CHOICES: Final = tuple(SCALES)
#: Whether a queue grows is said of what it was so long ago, as near as somebody looked.
LATELY: Final = timedelta(seconds=60)
_NEAREST: Final = timedelta(seconds=45)
_FARTHEST: Final = timedelta(seconds=180)
#: What is older is shown with its instant: a broker that takes long is asked seldom.
_OLD: Final = timedelta(seconds=5)
#: Transitions that are marked in the chart, the newest ones.
MARKERS: Final = 12
SPARK: Final = timedelta(hours=1)
#: Deploys are looked for among the last ones, so far back.
DEPLOYS: Final = timedelta(days=90)
MOST_DEPLOYS: Final = 500

_histories: Final = Histories()


class Marker(NamedTuple):
    """An instant that the charts mark."""

    at: datetime
    text: str
    #: A state, or what else it looks like.
    css: str


class Known(NamedTuple):
    """What waits, at an instant."""

    at: datetime
    depths: Mapping[str, Depth]
    #: Why the broker is not to be seen; empty: it answers.
    trouble: str = ""


def _read_held() -> dict[str, int]:
    held = OutboxMessage.objects.filter(held_at__isnull=False).order_by()
    return dict(held.values_list("target").annotate(Count("pk")))


def _read_lately() -> dict[str, list[int]]:
    now = utc_now()
    return queues.counts_between(now - SPARK, now)


def _read_deploys() -> list[Deploy]:
    now = utc_now()
    return deploys.between(now - DEPLOYS, now, "", MOST_DEPLOYS)


_deploys: Final = Paced(_read_deploys, 2.0)
_held: Final = Paced(_read_held, 2.0)
_lately: Final = Paced(_read_lately, 10.0)


def choice(asked: Question) -> dict[str, Any]:
    """Return the services to choose from, and what waits elsewhere than on the broker."""
    return {
        "names": [each.service.name for each in asked.once(reads.registry).services],
        "service": asked.parameters.get("service", ""),
        "held": sum(asked.once(_held_now).values()),
        "retrying": asked.once(reads.retrying).count,
        "broker": communicator.bus.profile.name,
        "ages": _ages(communicator.bus),
    }


def _ages(bus: MessageBus) -> bool:
    """Return whether what waits long rises to another priority."""
    return bus.profile.name == "sqlite" and bus.config.ageing_seconds > 0


def depths(asked: Question) -> dict[str, Any]:
    """Return the points of both charts, which are the rows of the table."""
    name, service = asked.range(CHOICES), asked.parameters.get("service", "")
    points = _histories.points(service, name, asked.now)
    names = bands(points)
    flows = rates(points, SCALES[name].step)
    return {
        "names": names,
        "range": name,
        "service": service,
        "points": [
            {"at": point.at, "counts": split(point, names), "total": point.total, "rates": flow}
            for point, flow in zip(points, flows, strict=True)
        ],
        "is_known": any(point.waiting is not None for point in points),
        "markers": _markers(asked, service),
    }


def steer(asked: Question) -> dict[str, Any]:
    """Return the queues that can be paused, with what waits in them."""
    gateway = communicator.name
    rows = [row for row in asked.once(_rows) if row.service != gateway]
    return {"rows": sorted(rows, key=lambda row: row.service), "most": MAX_REASON}


def table(asked: Question) -> dict[str, Any]:
    """Return a row for each queue, the longest wait first, and what to know of the worst."""
    known = asked.once(_known)
    rows = asked.once(_rows)
    most = max((row.waiting for row in rows), default=0)
    return {
        "rows": [(row, pieces(row, most)) for row in worst_first(rows)],
        "sentence": sentence(worst(rows)),
        "is_split": all(row.by_priority is not None for row in rows),
        "known": known,
        "is_old": known is not None and asked.now - known.at > _OLD,
        "service": asked.parameters.get("service", ""),
        "gateway": communicator.name,
    }


def _known(asked: Question) -> Known | None:
    """Return what waits now; where the broker does not answer, what did when it last did."""
    if not asked.is_frozen:
        reading = asked.once(reads.waiting)
        if reading is None:
            return None
        if not reading.value.trouble:
            return Known(reading.at, reading.value.depths)
        trouble = reading.value.trouble
    else:
        trouble = ""
    look = QueueLook.objects.filter(at__lte=asked.now).order_by("-at").first()
    if look is None:
        return Known(asked.now, {}, trouble)
    return Known(look.at, _depths_of(look), trouble)


def _rows(asked: Question) -> list[Row]:
    known = asked.once(_known)
    if known is None:
        return []
    service = asked.parameters.get("service", "")
    before = _before(known.at)
    went = _went(asked)
    held = asked.once(_held_now)
    lately = {} if asked.is_frozen else _of(_lately)
    rows = []
    for each in asked.once(reads.registry).services:
        name = each.service.name
        if service and name != service:
            continue
        depth = known.depths.get(name, NOTHING)
        split_up = depth.by_priority
        rows.append(
            Row(
                service=name,
                waiting=depth.waiting,
                by_priority=None
                if split_up is None
                else {priority.value: count for priority, count in split_up.items()},
                oldest_seconds=depth.oldest_seconds,
                went=went.get(name, 0.0),
                grows=_grows(depth, before, name, known.at),
                states=[each.state_of(one) for one in each.instances],
                held=held.get(name, 0),
                pause=each.pause,
                lately=lately.get(name, ()),
            )
        )
    return rows


def _grows(depth: Depth, before: Known | None, service: str, at: datetime) -> float | None:
    if before is None:
        return None
    grown = depth.waiting - before.depths.get(service, NOTHING).waiting
    return grown / (at - before.at).total_seconds()


def _before(at: datetime) -> Known | None:
    """Return what waited about `LATELY` before an instant; None: nobody looked."""
    looks = QueueLook.objects.filter(at__gte=at - _FARTHEST, at__lte=at - _NEAREST)
    found = sorted(looks, key=lambda look: abs(at - LATELY - look.at))
    return Known(found[0].at, _depths_of(found[0])) if found else None


def _depths_of(look: QueueLook) -> dict[str, Depth]:
    return {row.service: queues.depth_of(row) for row in look.depths.all()}


def _went(asked: Question) -> dict[str, float]:
    """Return how many each service handles per second."""
    if not asked.is_frozen:
        present = asked.once(reads.flowing)
        return {name: present.rate(each.count) for name, each in present.by_target().items()}
    ended_at = asked.now.replace(second=0, microsecond=0)
    began_at = ended_at - 2 * LATELY
    handled = FlowSummary.objects.filter(
        resolution=Resolution.MINUTE, at__gte=began_at, at__lt=ended_at
    ).order_by()
    seconds = (ended_at - began_at).total_seconds()
    counts = handled.values_list("target").annotate(Sum("count"))
    return {target: count / seconds for target, count in counts}


def _markers(asked: Question, service: str) -> list[Marker]:
    """Return the last transitions and deploys that may have moved a queue."""
    scale = SCALES[asked.range(CHOICES)]
    began_at = asked.now - scale.step * scale.points
    records = HealthRecord.objects.filter(at__gte=began_at, at__lte=asked.now)
    told = (State.DOWN, State.MAINTENANCE)
    records = records.filter(Q(state__in=told) | Q(state=State.UP, previous_state__in=told))
    if service:
        records = records.filter(service__name=service)
    found = [
        Marker(row.at, " ".join(filter(None, (row.service.name, row.instance_id[:8]))), row.state)
        for row in records.exclude(cause=DEREGISTERED).select_related("service")[:MARKERS]
    ]
    known = _deploys.get()
    found += [
        Marker(each.at, f"{each.service} {each.versions}", "deploy")
        for each in (known.value if known else ())
        if began_at <= each.at <= asked.now and service in ("", each.service)
    ]
    return sorted(found, key=lambda marker: marker.at, reverse=True)[:MARKERS]


def _held_now(_asked: Question) -> dict[str, int]:
    return _of(_held)


def _of(paced: Paced[dict[str, Any]]) -> dict[str, Any]:
    known = paced.get()
    return known.value if known else {}
