"""``manage.py bus_resume``: has a service take messages again."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app.bus import communicator
from gateway_app.commands import BusCommand, host_user
from gateway_app.pausing import resume
from messaging.envelope import utc_now


class Command(BusCommand):
    """Ends a pause, or a drain that is under way."""

    help = "Have a service that was paused take messages again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the service."""
        parser.add_argument("service", metavar="SERVICE", help="name of the service")

    def run(self, options: dict[str, Any]) -> None:
        """Resume it; in the registry when this returns."""
        name = options["service"]
        is_told = resume(communicator, name, actor=host_user(), now=utc_now())
        self.stdout.write(f"{name}: takes messages")
        if not is_told:
            self.stderr.write(
                "The broker does not answer: workers are told with their next heartbeats."
            )
