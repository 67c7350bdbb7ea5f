"""``manage.py bus_resolve SERVICE``: what to do with messages for a service that is gone."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import removed_services
from gateway_app.commands import BusCommand, host_user
from messaging.envelope import is_service_name


class Command(BusCommand):
    """Parks or redirects what is kept for a service that will not come back."""

    help = (
        "End the custody of all messages that are kept for a service: as dead letters, or by "
        "sending them to another service. What was published already may have been handled "
        "under the old name, and another service does not know that."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the service, and what becomes of its messages."""
        parser.add_argument("service", metavar="SERVICE", help="the service that is gone")
        parser.add_argument("--reason", required=True, metavar="TEXT", help="for the record")
        parser.add_argument("--id", metavar="ID", help="only this message, which cannot go on")
        parser.add_argument("--to", metavar="NAME", help="send them to this service instead")

    def run(self, options: dict[str, Any]) -> None:
        """Resolve them."""
        for name in filter(None, (options["service"], options["to"])):
            if not is_service_name(name):
                raise ValueError(f"not a service name: {name!r}")
        count = removed_services.resolve(
            options["service"],
            to=options["to"],
            reason=options["reason"],
            actor=host_user(),
            message_id=options["id"],
        )
        end = f"sent to {options['to']}" if options["to"] else "parked"
        self.stdout.write(f"{count} {end}.")
