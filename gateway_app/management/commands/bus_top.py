"""``manage.py bus_top``: services, rates and queues, looked at again and again."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from django.core.management.base import CommandParser
from django.db import DatabaseError, connection

from gateway_app.bus import communicator
from gateway_app.commands import BusCommand, positive, table
from gateway_app.flow import present
from gateway_app.flow.present import Present
from gateway_app.flow.rows import Deliveries
from gateway_app.models import State
from gateway_app.registry.snapshot import View, view
from gateway_app.registry.wording import duration_text
from messaging import MessagingError
from messaging.clock import SYSTEM_CLOCK
from messaging.depths import Depth, depths
from messaging.envelope import utc_now
from messaging.histogram import Histogram, quantile

#: Rates and durations are those of so many seconds.
WINDOW_SECONDS: Final = 30.0
_SERVICES: Final = (
    "SERVICE",
    "STATE",
    "INSTANCES",
    "PER s",
    "FAILED",
    "WAITED p95",
    "TOOK p95",
    "WAITING",
    "OLDEST",
)
_EDGES: Final = ("FROM", "TO", "TYPE", "PRIORITY", "PER s", "FAILED", "TOOK p95", "LAST ERROR")
_HOME_AND_CLEAR: Final = "\x1b[H\x1b[J"
_ERROR_WIDTH: Final = 60


class Command(BusCommand):
    """Shows what flows."""

    help = "Show services, what flows between them and what waits, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add how often, and for whom."""
        parser.add_argument(
            "--every", type=positive, default=2, metavar="S", help="seconds between two looks"
        )
        parser.add_argument("--once", action="store_true", help="look once, and end")
        parser.add_argument("--json", action="store_true", help="look once, and print only JSON")

    def run(self, options: dict[str, Any]) -> None:
        """Look again and again on a terminal, else once."""
        if options["json"]:
            self.print_json(_to_json(*_look(utc_now())))
            return
        if options["once"] or not sys.stdout.isatty():
            self.stdout.write("\n".join(_page(utc_now())))
            return
        while True:
            size = shutil.get_terminal_size()
            try:
                page = list(_page(utc_now()))
            except DatabaseError as exc:  # the next look may have more luck
                connection.close()
                page = [f"the database does not answer: {_plain(str(exc))}"]
            lines = [line[: size.columns] for line in page][: size.lines - 1]
            self.stdout.write(_HOME_AND_CLEAR + "\n".join(lines), ending="")
            self.stdout.flush()
            SYSTEM_CLOCK.sleep(options["every"])


def _look(now: datetime) -> tuple[View, Present, Mapping[str, Depth]]:
    shown = view(now=now)
    return shown, present.look(now, WINDOW_SECONDS), _depths(shown)


def _depths(shown: View) -> Mapping[str, Depth]:
    """Return what waits for each service; nothing of any where the broker does not answer."""
    try:
        return depths(communicator.bus, [service.service.name for service in shown.services])
    except MessagingError:
        return {}


def _page(now: datetime) -> Iterator[str]:
    shown, flow, waiting = _look(now)
    count = sum(each.count for each in flow.edges.values())
    failures = sum(each.failures for each in flow.edges.values())
    waits = sum(depth.waiting for depth in waiting.values())
    yield (
        f"{now:%H:%M:%S} UTC   {flow.rate(count):,.1f} deliveries/s,"
        f" {flow.rate(failures):,.1f} failed   {waits:,} waiting"
        f"   (the last {flow.seconds:g} s, as heartbeats tell)"
    )
    if shown.warning:
        yield shown.warning
    if not shown.services:
        yield "No service has registered yet."
        return
    yield ""
    yield from table([_SERVICES, *_service_rows(shown, flow, waiting)]).splitlines()
    yield ""
    if flow.edges:
        yield from table([_EDGES, *_edge_rows(flow)]).splitlines()
    else:
        yield f"Nothing was handled in these {flow.seconds:g} s."


def _service_rows(
    shown: View, flow: Present, waiting: Mapping[str, Depth]
) -> Iterator[tuple[str, ...]]:
    totals = flow.by_target()
    for service in shown.services:
        name = service.service.name
        handled = totals[name]
        up = sum(service.state_of(each) is State.UP for each in service.instances)
        yield (
            name,
            service.state.value,
            f"{up} of {len(service.instances)} up",
            f"{flow.rate(handled.count):,.1f}",
            f"{flow.rate(handled.failures):,.1f}",
            _p95(handled.waiting),
            _p95(handled.handling),
            *_waiting(waiting.get(name)),
        )


def _waiting(depth: Depth | None) -> tuple[str, str]:
    if depth is None:
        return "?", "?"  # the broker does not answer
    oldest = "" if depth.oldest_seconds is None else duration_text(depth.oldest_seconds)
    if not depth.by_priority:
        return f"{depth.waiting:,}", oldest
    split = (f"{count:,} {priority}" for priority, count in sorted(depth.by_priority.items()))
    return f"{depth.waiting:,} ({', '.join(split)})", oldest


def _edge_rows(flow: Present) -> Iterator[tuple[str, ...]]:
    # The worst first, then the busiest.
    edges = sorted(
        flow.edges.items(), key=lambda each: (-each[1].failures, -each[1].count, each[0])
    )
    for edge, deliveries in edges:
        yield (
            edge.source or "(others)",
            edge.target,
            edge.type or "(others)",
            edge.priority,
            f"{flow.rate(deliveries.count):,.1f}",
            f"{100 * deliveries.failures / deliveries.count:.0f} %" if deliveries.failures else "",
            _p95(deliveries.handling),
            _plain(deliveries.last_error)[:_ERROR_WIDTH],
        )


def _plain(text: str) -> str:
    """Return text from outside with nothing in it that a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in text)


def _p95(counts: Histogram) -> str:
    seconds = quantile(counts, 0.95)
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1e3:.{1 if seconds < 0.01 else 0}f} ms"
    return f"{seconds:,.1f} s"


def _to_json(shown: View, flow: Present, waiting: Mapping[str, Depth]) -> dict[str, Any]:
    totals = flow.by_target()
    return {
        "seconds": flow.seconds,
        "services": [
            {
                "name": service.service.name,
                "state": service.state.value,
                **_depth_to_json(waiting.get(service.service.name)),
                **_numbers(flow, totals[service.service.name]),
            }
            for service in shown.services
        ],
        "edges": [
            {**edge._asdict(), **_numbers(flow, deliveries), "last_error": deliveries.last_error}
            for edge, deliveries in sorted(flow.edges.items())
        ],
    }


def _depth_to_json(depth: Depth | None) -> dict[str, Any]:
    if depth is None:
        return {"waiting": None}
    return {
        "waiting": depth.waiting,
        "waiting_by_priority": depth.by_priority,
        "oldest_seconds": depth.oldest_seconds,
    }


def _numbers(flow: Present, deliveries: Deliveries) -> dict[str, Any]:
    return {
        "handled_per_second": flow.rate(deliveries.count),
        "failed_per_second": flow.rate(deliveries.failures),
        "waited_p50_seconds": quantile(deliveries.waiting, 0.5),
        "waited_p95_seconds": quantile(deliveries.waiting, 0.95),
        "took_p50_seconds": quantile(deliveries.handling, 0.5),
        "took_p95_seconds": quantile(deliveries.handling, 0.95),
    }
