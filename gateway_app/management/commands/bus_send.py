"""``manage.py bus_send TARGET TYPE [JSON]``: one command to one service."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import hints
from gateway_app.bus import communicator
from gateway_app.commands import BusCommand, add_message, add_priority, add_timing, some_seconds
from messaging.envelope import utc_now


class Command(BusCommand):
    """Sends one message and prints its id."""

    help = "Send one message to a service; it waits there until the service runs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is sent, and how."""
        add_message(parser, with_target=True)
        add_priority(parser)
        add_timing(parser)
        parser.add_argument(
            "--expires", type=some_seconds, metavar="S", help="worthless after S seconds"
        )

    def run(self, options: dict[str, Any]) -> None:
        """Send it."""
        now = utc_now()
        message_id = communicator.send_to_service(
            options["target"],
            options["type"],
            options["data"],
            priority=options["priority"],
            delay=options["delay"],
            send_at=options["at"],
            ordering_key=options["ordering_key"],
            expires_in=options["expires"],
        )
        self.stdout.write(message_id)
        for hint in hints.of_sent(message_id, to=options["target"], at=options["at"], now=now):
            self.stderr.write(f"bus_send: {hint}")
