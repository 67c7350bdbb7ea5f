"""``manage.py bus_broadcast TYPE [JSON]``: an event for every subscriber."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import hints
from gateway_app.bus import communicator
from gateway_app.commands import BusCommand, add_message, add_priority, add_timing
from messaging.envelope import utc_now


class Command(BusCommand):
    """Broadcasts one event and prints its id."""

    help = "Broadcast an event; every service that subscribes to it gets it once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is broadcast."""
        add_message(parser, with_target=False)
        add_priority(parser)
        add_timing(parser)

    def run(self, options: dict[str, Any]) -> None:
        """Broadcast it."""
        now = utc_now()
        message_id = communicator.broadcast(
            options["type"],
            options["data"],
            priority=options["priority"],
            delay=options["delay"],
            send_at=options["at"],
            ordering_key=options["ordering_key"],
        )
        self.stdout.write(message_id)
        for hint in hints.of_sent(message_id, to=None, at=options["at"], now=now):
            self.stderr.write(f"bus_broadcast: {hint}")
