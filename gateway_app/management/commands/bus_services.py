"""``manage.py bus_services``: the registry, with health."""

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from gateway_app.commands import BusCommand, table
from gateway_app.snapshot import snapshot
from messaging.envelope import utc_now


class Command(BusCommand):
    """Lists services, their state and their instances."""

    help = "List the services that are registered, with their health."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--json``."""
        parser.add_argument("--json", action="store_true", help="print only JSON")

    def run(self, options: dict[str, Any]) -> None:
        """List them."""
        services = snapshot()
        if options["json"]:
            self.print_json(services)
        elif not services:
            self.stdout.write("No service has registered yet.")
        else:
            self.stdout.write(table([_HEADING, *map(_row, services)]))


_HEADING = ("SERVICE", "STATE", "VERSION", "INSTANCES", "LAST SEEN", "SUBSCRIBES TO")


def _row(service: dict[str, Any]) -> tuple[str, ...]:
    instances = service["instances"]
    up = sum(instance["state"] == "UP" for instance in instances)
    return (
        service["name"],
        service["state"],
        service["version"],
        f"{up} of {len(instances)} up",
        _ago(max((instance["last_seen_at"] for instance in instances), default="")),
        ", ".join(service["subscriptions"]),
    )


def _ago(instant: str) -> str:
    if not instant:
        return "never"
    return f"{(utc_now() - datetime.fromisoformat(instant)).total_seconds():.0f} s ago"
