"""What is reported: the sections of the table, their metrics, and what they are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tests.bench.contestants import BASELINE


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one repetition, as rows name it."""

    workload: str
    variant: str
    peer: str
    metric: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of numbers."""

    name: str
    #: With its unit.
    heading: str
    digits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One workload as the table shows it. A figure is compared with what is not empty here."""

    title: str
    metrics: tuple[Metric, ...]
    base_peer: str = ""
    base_variant: str = ""
    base_metrics: Mapping[str, str] = field(default_factory=dict)
    #: What the comparison is with, for people.
    base_name: str

    def base(self, figure: Figure) -> Figure:
        """Return what a figure is divided by, of the same repetition."""
        return replace(
            figure,
            peer=self.base_peer or figure.peer,
            variant=self.base_variant or figure.variant,
            metric=self.base_metrics.get(figure.metric, figure.metric),
        )


_TAIL: Final = (Metric("p50_ms", "p50 ms", 2), Metric("p99_ms", "p99 ms", 2))
_BACKLOG: Final = (
    Metric("published_s", "published/s"),
    Metric("handled_s", "handled/s"),
    Metric("client_us", "client CPU µs/message"),
    Metric("worker_us", "worker CPU µs/message"),
)


def _against_celery(title: str, *metrics: Metric) -> Section:
    return Section(title=title, metrics=metrics, base_peer=BASELINE, base_name=BASELINE)


def _against_smallest(title: str, smallest: str, *metrics: Metric) -> Section:
    return Section(title=title, metrics=metrics, base_variant=smallest, base_name=smallest)


def _gateway_metrics() -> tuple[Metric, ...]:
    both = tuple(
        Metric(f"{name}{clients}_{unit}", f"{path}, {who}: {heading}", digits)
        for clients, who in ((1, "1 client"), (8, "8 clients"))
        for unit, heading, digits in (
            ("s", "requests/s", 0),
            ("p50_ms", "p50 ms", 2),
            ("p99_ms", "p99 ms", 2),
        )
        for name, path in (("health", "/health"), ("route", "a route"))
    )
    return (
        *both,
        Metric("bus1_p50_ms", "the same request without HTTP: p50 ms", 2),
        Metric("bus1_p99_ms", "the same request without HTTP: p99 ms", 2),
        Metric("match_us", "finding one of 10,000 routes µs", 1),
    )


SECTIONS: Final[Mapping[str, Section]] = {
    "W1": _against_celery("W1: publish with no worker running, then handle", *_BACKLOG),
    "W2": _against_celery("W2: messages at an even pace, until the handler begins", *_TAIL),
    "W3": _against_celery(
        "W3: request and reply",
        *_TAIL,
        Metric("one_s", "requests/s, 1 caller"),
        Metric("eight_s", "requests/s, 8 callers"),
    ),
    "W4": _against_celery(
        "W4: events to five services; in a burst, then at an even pace until the last of five",
        Metric("events_s", "events/s"),
        *_TAIL,
    ),
    "W5": _against_celery(
        "W5: as W1, with the strongest durability; the bus also settles with the sender",
        Metric("published_s", "accepted/s"),
        Metric("handled_s", "handled/s"),
        Metric("settled_s", "settled/s"),
        *_BACKLOG[2:],
    ),
    "W6": _against_celery(
        "W6: one idle worker",
        Metric("start_seconds", "start to ready s", 2),
        Metric("rss_mb", "RSS MB"),
        Metric("pss_mb", "PSS MB"),
        Metric("idle_percent", "idle CPU %", 1),
    ),
    "W7": _against_smallest(
        "W7: publish and handle beside a backlog",
        "1,000 waiting",
        Metric("publish_us", "publish µs/message"),
        Metric("handle_us", "handle µs/message"),
    ),
    "W8": _against_smallest(
        "W8: beside settled rows of long ago, in the outbox and as many in the inbox",
        "no old rows",
        Metric("accept_us", "CRITICAL, accept µs/message"),
        Metric("settle_us", "CRITICAL, handle and settle µs/message"),
        Metric("publish_us", "NORMAL, publish µs/message"),
        Metric("handle_us", "NORMAL, handle µs/message"),
    ),
    "W9": _against_smallest(
        "W9: beside registered services",
        "1 service",
        Metric("publish_us", "publish µs/message"),
        Metric("request_p50_us", "request p50 µs"),
        Metric("broadcast_us", "broadcast to 5 µs/event"),
    ),
    "W10": Section(
        title="W10: HTTP through the gateway",
        metrics=_gateway_metrics(),
        base_metrics={
            metric.name: metric.name.replace("route", "health") for metric in _gateway_metrics()
        },
        base_name="/health",
    ),
    "W11": _against_smallest(
        "W11: one health round over services, a tenth of them dead, by message and over HTTP",
        "100 services",
        Metric("round_s", "round s", 2),
        Metric("cpu_s", "CPU of the gateway's worker s/round", 2),
        Metric("peak_mb", "its peak memory MB"),
    ),
    "W12": _against_smallest(
        "W12: beside those who look at the pages, in an old database with 200 services",
        "0 viewers",
        Metric("publish_us", "CRITICAL, accept µs/message"),
        Metric("handle_us", "CRITICAL, handle µs/message"),
        Metric("overview_ms", "first paint of the Overview ms"),
        Metric("queues_ms", "of Queues ms"),
        Metric("topology_ms", "of Topology ms"),
        Metric("update_p50_ms", "from an event to a viewer ms, p50"),
        Metric("update_max_ms", "longest"),
    ),
    "W13": _against_smallest(
        "W13: heartbeats of many instances, as fast as they are taken, then every 5 s",
        "100 instances",
        Metric("heartbeats_s", "heartbeats/s"),
        Metric("cpu_us", "CPU of the gateway's worker µs/heartbeat"),
        Metric("busy_percent", "its CPU, every 5 s, % of a core"),
        Metric("oldest_s", "longest time since one was heard of, every 5 s, s", 1),
        Metric("sweep_ms", "CPU of a sweep ms"),
        Metric("peak_mb", "peak memory MB"),
    ),
    "EVENTS": Section(
        title="EVENTS: as W1, with Celery's task events",
        metrics=_BACKLOG[1:2],
        base_variant="off",
        base_name="off",
    ),
    "ORDERED": Section(
        title="ORDERED: as W5, with ordering keys",
        metrics=_BACKLOG,
        base_variant="no key",
        base_name="no key",
    ),
    "SIGNED": Section(
        title="SIGNED: as W1, with messages signed, and each begun by its row",
        metrics=_BACKLOG,
        base_variant="off",
        base_name="off",
    ),
}
