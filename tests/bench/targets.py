"""What the bus is to reach. Ratios, formed as in the table unless a target names another base."""

from dataclasses import dataclass, replace
from typing import Final

from tests.bench.contestants import CELERY_WITH_DJANGO
from tests.bench.figures import SECTIONS, Figure

#: "The same": what a cost may grow by while a backlog, a database or an installation does.
FLAT: Final = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bound for the ratio of some figures. What is empty in it holds for all."""

    workload: str
    metric: str = ""
    peer: str = ""
    variant: str = ""
    at_least: float | None = None
    at_most: float | None = None
    #: Where the ratio is to something else than the section's.
    base_peer: str = ""
    base_metric: str = ""

    def covers(self, figure: Figure) -> bool:
        """Return whether it is about this figure: one of the bus, and not the base itself."""
        return (
            figure.peer.startswith("bus-")
            and self.workload == figure.workload
            and self.metric in ("", figure.metric)
            and self.peer in ("", figure.peer)
            and self.variant in ("", figure.variant)
            and self.base(figure) != figure
        )

    def base(self, figure: Figure) -> Figure:
        """Return what the figure is divided by."""
        base = SECTIONS[figure.workload].base(figure)
        return replace(
            base,
            peer=self.base_peer or base.peer,
            metric=self.base_metric or base.metric,
        )

    def is_met(self, ratio: float) -> bool:
        """Return whether a ratio is within the bounds."""
        is_enough = self.at_least is None or ratio >= self.at_least
        return is_enough and (self.at_most is None or ratio <= self.at_most)

    def __str__(self) -> str:
        bound = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        return f"{bound} of {self.base_peer}" if self.base_peer else bound


TARGETS: Final = (
    Target(workload="W1", metric="published_s", peer="bus-sqlite", at_least=3.0),
    Target(workload="W1", metric="published_s", peer="bus-amqp", at_least=2.5),
    Target(
        workload="W1",
        metric="published_s",
        peer="bus-redis",
        at_least=2.0,
        base_peer="celery-redis",
    ),
    Target(workload="W1", variant="c4", metric="handled_s", peer="bus-sqlite", at_least=2.0),
    Target(workload="W1", variant="c4", metric="handled_s", peer="bus-amqp", at_least=1.8),
    Target(
        workload="W1",
        variant="c4",
        metric="handled_s",
        peer="bus-redis",
        at_least=1.4,
        base_peer="celery-redis",
    ),
    Target(workload="W2", metric="p50_ms", peer="bus-sqlite", at_most=0.55),
    Target(workload="W2", metric="p50_ms", peer="bus-amqp", at_most=0.8),
    Target(workload="W3", metric="p50_ms", peer="bus-sqlite", at_most=0.4),
    Target(workload="W3", metric="p50_ms", peer="bus-amqp", at_most=0.45),
    Target(workload="W3", metric="p99_ms", peer="bus-sqlite", at_most=0.5),
    Target(workload="W3", metric="p99_ms", peer="bus-amqp", at_most=0.5),
    Target(workload="W3", variant="c4", metric="eight_s", peer="bus-sqlite", at_least=2.5),
    Target(workload="W3", variant="c4", metric="eight_s", peer="bus-amqp", at_least=2.5),
    Target(workload="W4", metric="events_s", peer="bus-sqlite", at_least=3.2),
    Target(workload="W4", metric="events_s", peer="bus-amqp", at_least=2.0),
    Target(workload="W5", metric="published_s", at_least=3.0),
    # Celery knows no more than that a task was handled.
    Target(workload="W5", metric="settled_s", at_least=1.0, base_metric="handled_s"),
    Target(workload="W6", metric="start_seconds", at_most=1.0, base_peer=CELERY_WITH_DJANGO.name),
    Target(workload="W6", metric="rss_mb", at_most=1.25, base_peer=CELERY_WITH_DJANGO.name),
    Target(workload="W7", at_most=FLAT),
    Target(workload="W8", at_most=FLAT),
    Target(workload="W9", at_most=FLAT),
    Target(workload="W10", metric="route1_p50_ms", at_most=1.5, base_metric="bus1_p50_ms"),
    # A round over a hundred services lasts as long as its dead ones, little more than 2 s.
    Target(workload="W11", metric="round_s", at_most=4.0),
    Target(workload="W11", metric="peak_mb", at_most=FLAT),
    Target(workload="W12", metric="publish_us", at_most=1.05),
    Target(workload="W12", metric="handle_us", at_most=1.05),
    Target(workload="W13", metric="cpu_us", at_most=FLAT),
    Target(workload="EVENTS", at_least=0.85),
)


def target_of(figure: Figure) -> Target | None:
    """Return the target of a figure; None where it has none."""
    return next((target for target in TARGETS if target.covers(figure)), None)
