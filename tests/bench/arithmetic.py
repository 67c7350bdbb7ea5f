"""From what was noted to figures."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.bench.peers.protocol import SERVICES

Values = dict[str, float]


class Record(NamedTuple):
    """A handler began; see `peers.protocol`."""

    service: int
    number: int
    sent_ns: int
    begun_ns: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a workload measured."""

    #: By metric; see `figures`.
    values: Values
    #: Says so where fewer messages were handled or sent than planned.
    cut_short: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several values of one thing."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """Return median and extremes; None where there is nothing."""
    found = list(values)
    if not found:
        return None
    return Spread(statistics.median(found), min(found), max(found))


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that so many percent of the values do not reach."""
    found = sorted(values)
    return found[min(len(found) - 1, int(len(found) * percent / 100))]


def tail(milliseconds: Iterable[float], prefix: str = "") -> Values:
    """Return p50 and p99; nothing where there are no values."""
    found = list(milliseconds)
    if not found:
        return {}
    return {f"{prefix}p50_ms": percentile(found, 50), f"{prefix}p99_ms": percentile(found, 99)}


def first_ns(records: Sequence[Record]) -> int:
    """Return when the first handler began."""
    return min(record.begun_ns for record in records)


def rate(records: Sequence[Record], count: int | None = None) -> float:
    """Return how many handlers began a second, from the first one to the last.

    Args:
        records: in any order.
        count: look only at the first so many; None: at all.
    """
    begun = sorted(record.begun_ns for record in records)[:count]
    if len(begun) < 2 or begun[0] == begun[-1]:
        return 0.0
    return (len(begun) - 1) / ((begun[-1] - begun[0]) / 1e9)


def events_rate(records: Sequence[Record]) -> float:
    """Return how many events a second reached all services, from the first send on."""
    seconds = max(each.begun_ns for each in records) - min(each.sent_ns for each in records)
    return distinct(records) / SERVICES / (seconds / 1e9)


def latest_ms(records: Iterable[Record]) -> list[float]:
    """Return for each event how long it took to the last service."""
    latest: dict[int, float] = {}
    for each in records:
        took = (each.begun_ns - each.sent_ns) / 1e6
        latest[each.number] = max(latest.get(each.number, 0.0), took)
    return list(latest.values())


def distinct(records: Iterable[Record]) -> int:
    """Return how many messages were handled, those handled twice counted once."""
    return len({(each.service, each.number) for each in records})


def shortfall(records: Iterable[Record], sent: int, planned: int) -> str:
    """Return what to say where not all was sent and handled; empty where it was."""
    handled = distinct(records)
    if handled == sent == planned:
        return ""
    return f"{handled} handled of {sent} sent of {planned} planned"
