"""What a run measures, and in which order."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from tests.bench import gateway, growth, health_round, heartbeats, pages, workloads
from tests.bench.arithmetic import Outcome
from tests.bench.contestants import BUS, CELERY, CELERY_WITH_DJANGO, Contestant
from tests.bench.counts import Counts
from tests.bench.measurement import Measurement

T = TypeVar("T")

_EMBEDDED: Final = BUS[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement to be made."""

    workload: str
    variant: str
    contestant: Contestant
    measure: Callable[[Measurement], Outcome]
    durable: bool = False
    #: Added to the environment.
    more: dict[str, str] = field(default_factory=dict)
    #: Settled messages of long ago in the database of a bus.
    old_rows: int = 0


#: Measures one variant.
Workload = Callable[[Measurement, str, Counts], Outcome]
#: The groups of a workload.
Plan = Callable[[Counts], Iterator[list[Case]]]


def cases(workload: str, counts: Counts) -> list[list[Case]]:
    """Return the cases of a workload; those that are compared with each other are one group."""
    return list(_PLANS[workload](counts))


def in_order(group: Sequence[T], rep: int) -> list[T]:
    """Return a group in an order of its own for each repetition.

    Zigzag from another start each time: in as many repetitions as there are members, everyone
    comes first once, and (for an even number) comes once right behind each other one.
    """
    size = len(group)
    steps = ((index + 1) // 2 * (1 if index % 2 else -1) for index in range(size))
    return [group[(rep + step) % size] for step in steps]


def narrowed(
    groups: Iterable[list[Case]], *, absent: Collection[str], peers: Collection[str]
) -> Iterator[list[Case]]:
    """Leave out what cannot or shall not be measured.

    Args:
        groups: of cases.
        absent: servers that are not there.
        peers: names of the contestants that are wanted; empty: all.
    """
    for group in groups:
        kept = [
            case
            for case in group
            if case.contestant.server not in absent
            and (not peers or case.contestant.name in peers)
        ]
        if kept:
            yield kept


def _bound(measure: Workload, variant: str, counts: Counts) -> Callable[[Measurement], Outcome]:
    return lambda run: measure(run, variant, counts)


def _compared(
    workload: str,
    measure: Workload,
    variants: Sequence[str],
    *,
    durable: bool = False,
    also: Sequence[Contestant] = (),
) -> Plan:
    """Return the plan of what everybody does: a group for each variant."""

    def plan(counts: Counts) -> Iterator[list[Case]]:
        for variant in variants[-1:] if counts.quick else variants:
            yield [
                Case(
                    workload=workload,
                    variant=variant,
                    contestant=contestant,
                    measure=_bound(measure, variant, counts),
                    durable=durable,
                )
                for contestant in (*BUS, *CELERY, *also)
                if not (_is_slow(contestant) and (counts.quick or variant != variants[0]))
            ]

    return plan


def _backlogs(counts: Counts) -> Iterator[list[Case]]:
    for contestant in BUS[:1] if counts.quick else BUS:
        sizes = counts.backlogs_elsewhere if contestant.server else counts.backlogs
        yield [
            Case(
                workload="W7",
                variant=f"{size:,} waiting",
                contestant=contestant,
                measure=partial(growth.with_backlog, waiting=size, counts=counts),
            )
            for size in sizes
        ]


def _ages(counts: Counts) -> Iterator[list[Case]]:
    yield [
        Case(
            workload="W8",
            variant=f"{rows:,} old rows" if rows else "no old rows",
            contestant=_EMBEDDED,
            measure=partial(growth.with_old_rows, counts=counts),
            old_rows=rows,
        )
        for rows in (0, counts.old_rows)
    ]


def _breadths(counts: Counts) -> Iterator[list[Case]]:
    yield [
        Case(
            workload="W9",
            variant=f"{number:,} service{'s' if number > 1 else ''}",
            contestant=_EMBEDDED,
            measure=partial(growth.with_services, registered=number, counts=counts),
        )
        for number in counts.services
    ]


def _http(counts: Counts) -> Iterator[list[Case]]:
    yield [
        Case(
            workload="W10",
            variant="c4",
            contestant=contestant,
            measure=_bound(gateway.over_http, "c4", counts),
        )
        for contestant in (BUS[:1] if counts.quick else BUS)
    ]


def _rounds(counts: Counts) -> Iterator[list[Case]]:
    for contestant in BUS[:1] if counts.quick else BUS:
        # With each message kombu asks Redis for all queues that a process consumes: there one
        # process cannot stand for many services.
        numbers = counts.checked[:1] if contestant.server == "redis" else counts.checked
        yield [
            Case(
                workload="W11",
                variant=f"{number:,} services",
                contestant=contestant,
                measure=partial(health_round.over_services, services=number, counts=counts),
            )
            for number in numbers
        ]


def _views(counts: Counts) -> Iterator[list[Case]]:
    yield [
        Case(
            workload="W12",
            variant=f"{number} viewers",
            contestant=_EMBEDDED,
            measure=partial(pages.beside_viewers, viewers=number, counts=counts),
            durable=True,
            old_rows=counts.old_rows,
        )
        for number in counts.viewers
    ]


def _heartbeats(counts: Counts) -> Iterator[list[Case]]:
    for contestant in BUS[:1] if counts.quick else BUS:
        yield [
            Case(
                workload="W13",
                variant=f"{number:,} instances",
                contestant=contestant,
                measure=partial(heartbeats.of_instances, instances=number, counts=counts),
            )
            for number in counts.instances
        ]


def _switched(workload: str, variable: str, on: str, off: str) -> Plan:
    """W1 with a variable of the environment, against the same without."""

    def plan(counts: Counts) -> Iterator[list[Case]]:
        for contestant in BUS[:1] if counts.quick else BUS:
            yield [
                Case(
                    workload=workload,
                    variant=name,
                    contestant=contestant,
                    measure=_bound(workloads.backlog, "c4", counts),
                    more={variable: value},
                )
                for name, value in (("off", off), ("on", on))
            ]

    return plan


def _ordered(counts: Counts) -> Iterator[list[Case]]:
    """W5 with ordering keys, against the same without."""
    for contestant in BUS[:1] if counts.quick else BUS:
        yield [
            Case(
                workload="ORDERED",
                variant=name,
                contestant=contestant,
                measure=_bound(workloads.backlog, "c4", counts),
                more={"BENCH_ORDERING_KEYS": str(keys)},
                durable=True,
            )
            for name, keys in (("no key", 0), ("100 keys", 100), ("1 key", 1))
        ]


def _is_slow(contestant: Contestant) -> bool:
    """Return whether it polls once a second: it is worth a look, not one in every variant."""
    return contestant.flavour == "sqla"


_PLANS: Final[dict[str, Plan]] = {
    "W1": _compared("W1", workloads.backlog, ("c1", "c4")),
    "W2": _compared("W2", workloads.paced, ("c1",)),
    "W3": _compared("W3", workloads.requests, ("c1", "c4")),
    "W4": _compared("W4", workloads.broadcasts, ("c1",)),
    "W5": _compared("W5", workloads.backlog, ("c4",), durable=True),
    "W6": _compared("W6", workloads.idle, ("c1",), also=(CELERY_WITH_DJANGO,)),
    "W7": _backlogs,
    "W8": _ages,
    "W9": _breadths,
    "W10": _http,
    "W11": _rounds,
    "W12": _views,
    "W13": _heartbeats,
    "EVENTS": _switched("EVENTS", "BENCH_EVENTS", on="1", off="0"),
    "ORDERED": _ordered,
    "SIGNED": _switched("SIGNED", "MESSAGING_SIGNING_KEYS", on=f"bench:{'b' * 40}", off=""),
}
WORKLOADS: Final = tuple(_PLANS)
