"""The Overview: whether all is well, and if not, what is wrong and where to go."""

from datetime import datetime, timedelta
from typing import Any, Final

from gateway_app.flow import overall
from gateway_app.flow.rows import Deliveries
from gateway_app.ledger import Account
from gateway_app.models import Resolution, State
from gateway_app.ops import dead_letters as dead_letters_page
from gateway_app.ops import figures, happened, reads
from gateway_app.ops import verdict as verdicts
from gateway_app.ops.question import Question
from gateway_app.ops.verdict import Facts, ServiceFacts
from gateway_app.registry.snapshot import ServiceView
from messaging import MessagePriority
from messaging.histogram import quantile

_RANGES: Final = ("1h", "24h", "7d")
#: Points of each line.
POINTS: Final = 60
EVENTS: Final = 20
#: Of dead letters.
MOST_GROUPS: Final = 5
_MOST_URGENT_FIRST: Final = tuple(reversed(MessagePriority))


def verdict(asked: Question) -> dict[str, Any]:
    """Return the sentence and the facts below it."""
    facts = asked.once(_facts)
    balance = asked.once(reads.account)
    return {
        "verdict": verdicts.judge(facts),
        "facts": verdicts.facts_below(facts, balance.at if balance else None),
    }


def ledger(asked: Question) -> dict[str, Any]:
    """Return the balance of the last day."""
    balance = asked.once(reads.account)
    if balance is None:
        return {"balance": None}
    return {"balance": balance, "parts": _balance(balance.value, asked.once(reads.retrying))}


def flow(asked: Question) -> dict[str, Any]:
    """Return how each priority flows."""
    resolution, step = _steps(asked)
    ended_at = _floor(asked.now, step)
    began_at = ended_at - step * POINTS
    columns: dict[str, list[Deliveries]] = {
        priority.value: [Deliveries() for _ in range(POINTS)] for priority in MessagePriority
    }
    for at, priority, deliveries in overall.between(resolution, began_at, ended_at):
        columns[priority][int((at - began_at) / step)].add(deliveries)
    now = asked.once(reads.flowing)
    known = asked.once(reads.waiting)
    return {
        "rows": [
            _priority_row(priority, columns[priority.value], step, now, known)
            for priority in _MOST_URGENT_FIRST
        ],
        "unsplit": _unsplit(known),
        "range": asked.range(_RANGES),
    }


def services(asked: Question) -> dict[str, Any]:
    """Return every service with its instances and what is wrong with it."""
    present = asked.once(reads.flowing)
    handled = present.by_target()
    parked = asked.once(reads.parked)
    shown = asked.once(reads.registry)
    rows = [
        {
            "name": each.service.name,
            "version": each.service.version,
            "states": [each.state_of(instance) for instance in each.instances],
            "up": _up(each),
            "all": len(each.instances),
            "down": sum(each.state_of(one) is State.DOWN for one in each.instances),
            "parked": parked[each.service.name].count if each.service.name in parked else 0,
            "rate": present.rate(handled[each.service.name].count),
        }
        for each in shown.services
    ]
    return {
        "rows": rows,
        "up": sum(row["up"] for row in rows),
        "all": sum(row["all"] for row in rows),
        "warning": shown.warning,
    }


def events(asked: Question) -> dict[str, Any]:
    """Return what happened last."""
    return {"events": happened.last(EVENTS, asked.now)}


def dead_letters(asked: Question) -> dict[str, Any]:
    """Return the groups with most of what was parked within a day, and how much is parked."""
    found = asked.once(reads.parked)
    groups = dead_letters_page.parked_lately() or []
    return {
        "groups": sorted(groups, key=lambda group: -group.count)[:MOST_GROUPS],
        "count": sum(parked.count for parked in found.values()),
    }


def _paused(shown: ServiceView) -> dict[str, Any]:
    pause = shown.pause
    if pause is None or pause.is_draining:
        return {}
    return {"paused_for": pause.reason, "paused_since": pause.since}


def _facts(asked: Question) -> Facts:
    shown = asked.once(reads.registry)
    parked = asked.once(reads.parked)
    balance = asked.once(reads.account)
    known = asked.once(reads.waiting)
    critical = asked.once(reads.critical)
    growing = asked.once(reads.growing)
    since = asked.once(reads.troubled_since)
    return Facts(
        now=asked.now,
        services=[
            ServiceFacts(
                name=each.service.name,
                states=[each.state_of(instance) for instance in each.instances],
                troubled_since=since.get(each.service.pk),
                parked=parked[each.service.name].count if each.service.name in parked else 0,
                parked_since=(
                    parked[each.service.name].since if each.service.name in parked else None
                ),
                grows_by_minute=growing.get(each.service.name, 0.0),
                **_paused(each),
            )
            for each in shown.services
        ],
        registry_trouble=shown.warning,
        broker_trouble=known.value.trouble if known else "",
        unaccounted=balance.value.unaccounted if balance else None,
        critical_count=critical.count,
        critical_since=critical.oldest_at,
    )


def _balance(account: Account, retrying: reads.Retrying) -> dict[str, Any]:
    counts = account.counts
    tried_again = min(retrying.count, counts["in_flight"])
    return {
        **counts,
        "retrying": tried_again,
        "waiting": counts["in_flight"] - tried_again,
        "duplicates": account.duplicates,
        "next_at": retrying.next_at,
    }


def _steps(asked: Question) -> tuple[Resolution, timedelta]:
    """Return what is read, and how long each point of a line is."""
    return {
        "1h": (Resolution.MINUTE, timedelta(minutes=1)),
        "24h": (Resolution.MINUTE, timedelta(minutes=24)),
        "7d": (Resolution.HOUR, timedelta(hours=3)),
    }[asked.range(_RANGES)]


def _floor(now: datetime, step: timedelta) -> datetime:
    seconds = step.total_seconds()
    return datetime.fromtimestamp(now.timestamp() // seconds * seconds, now.tzinfo)


def _priority_row(
    priority: MessagePriority,
    points: list[Deliveries],
    step: timedelta,
    present: Any,
    known: Any,
) -> dict[str, Any]:
    total = Deliveries()
    for point in points:
        total.add(point)
    recent = Deliveries()
    for edge, deliveries in present.edges.items():
        if edge.priority == priority.value:
            recent.add(deliveries)
    # A minute is added up when it is over: until the first one is, there is only the present.
    known_best = total if total.count else recent
    return {
        "priority": priority.value,
        "rate": present.rate(recent.count),
        "rates": [point.count / step.total_seconds() for point in points],
        "p95": quantile(known_best.total, 0.95),
        "p95s": [quantile(point.total, 0.95) for point in points],
        "failed": known_best.failures,
        "failed_share": figures.share(known_best.failures, known_best.count),
        "failures": [point.failures / point.count if point.count else 0.0 for point in points],
        **_waiting(priority, known),
    }


def _waiting(priority: MessagePriority, known: Any) -> dict[str, Any]:
    if known is None or known.value.trouble:
        return {"waiting": None, "oldest": None}
    depths = known.value.depths.values()
    if any(depth.by_priority is None for depth in depths):
        return {"waiting": None, "oldest": None}
    ages = [(depth.oldest_by_priority or {}).get(priority) for depth in depths]
    return {
        "waiting": sum(depth.by_priority.get(priority, 0) for depth in depths),
        "oldest": max((age for age in ages if age is not None), default=None),
    }


def _unsplit(known: Any) -> int | None:
    """Return how many wait, where the broker does not tell of which priority."""
    if known is None or all(d.by_priority is not None for d in known.value.depths.values()):
        return None
    return sum(depth.waiting for depth in known.value.depths.values())


def _up(each: ServiceView) -> int:
    return sum(each.state_of(instance) is State.UP for instance in each.instances)
