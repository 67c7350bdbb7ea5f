"""``manage.py bus_services``: the registry, with health."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from gateway_app.commands import BusCommand, table
from gateway_app.models import ServiceInstance, State
from gateway_app.registry.snapshot import ServiceView, departures, view
from gateway_app.registry.verdicts import judge, silent_seconds
from gateway_app.registry.wording import duration_text
from messaging.apps import configured
from messaging.envelope import utc_now


class Command(BusCommand):
    """Lists services, their state and their instances."""

    help = "List the services that are registered, with their health."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--json``."""
        parser.add_argument("--json", action="store_true", help="print only JSON")

    def run(self, options: dict[str, Any]) -> None:
        """List them. What has to be said of the registry itself comes first."""
        now = utc_now()
        shown = view(now=now)
        if shown.warning:
            (self.stderr if options["json"] else self.stdout).write(shown.warning)
        if options["json"]:
            self.print_json([service.to_json() for service in shown.services])
        elif not shown.services:
            self.stdout.write("No service has registered yet.")
        else:
            self.stdout.write(table([_HEADING, *_rows(shown.services, now)]))


_HEADING = ("SERVICE", "STATE", "VERSION", "INSTANCES", "LAST SEEN", "CAUSE")


def _rows(services: tuple[ServiceView, ...], now: datetime) -> Iterator[tuple[str, ...]]:
    left_at = departures(shown.service for shown in services if not shown.instances)
    for shown in services:
        yield _service_row(shown, left_at.get(shown.service.pk), now)
        for instance in shown.instances:
            yield _instance_row(shown, instance, now)


def _service_row(shown: ServiceView, left_at: datetime | None, now: datetime) -> tuple[str, ...]:
    up = sum(shown.state_of(instance) == State.UP for instance in shown.instances)
    seen = min((silent_seconds(instance, now) for instance in shown.instances), default=None)
    cause = "" if shown.instances else "no instance"
    if left_at is not None:
        cause += f"; the last one left {duration_text((now - left_at).total_seconds())} ago"
    if shown.pause is not None:
        does = "drains, to be paused" if shown.pause.is_draining else "paused"
        cause = "; ".join(filter(None, (cause, f"{does}: {shown.pause.reason}")))
    return (
        shown.service.name,
        shown.state,
        shown.service.version,
        f"{up} of {len(shown.instances)} up",
        "" if seen is None else f"{duration_text(seen)} ago",
        cause,
    )


def _instance_row(shown: ServiceView, instance: ServiceInstance, now: datetime) -> tuple[str, ...]:
    """Return the row of one instance; process ids and parts of ids tell those of a host apart."""
    where = instance.host if instance.port is None else f"{instance.host}:{instance.port}"
    pid = instance.metadata.get("pid")
    names = [where, "" if pid is None else f"pid {pid}", instance.instance_id[:8]]
    state = shown.state_of(instance)
    known = judge(instance, now, probe_failures=configured().probe_failures)
    return (
        f"  {' '.join(filter(None, names))}",
        state,
        instance.version,
        "",
        f"{duration_text(silent_seconds(instance, now))} ago",
        "" if state == State.UNKNOWN else known.cause,
    )
