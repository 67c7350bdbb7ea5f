"""``manage.py bus_pause``: has a service take no messages until ``bus_resume``."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app.bus import communicator
from gateway_app.commands import BusCommand, host_user
from gateway_app.pausing import pause
from messaging.envelope import utc_now


class Command(BusCommand):
    """Pauses or drains."""

    help = "Have a service take no messages: what is sent to it waits in its queue."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is meant, and why."""
        parser.add_argument("service", metavar="SERVICE", help="name of the service")
        parser.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")
        parser.add_argument(
            "--drain", action="store_true", help="let it handle what waits before that"
        )

    def run(self, options: dict[str, Any]) -> None:
        """Pause it; in the registry when this returns."""
        name = options["service"]
        is_told = pause(
            communicator,
            name,
            actor=host_user(),
            reason=options["reason"],
            now=utc_now(),
            is_drained=options["drain"],
        )
        said = "paused once its queue is empty" if options["drain"] else "paused"
        self.stdout.write(f"{name}: {said}; manage.py bus_resume {name} ends it")
        if not is_told:
            self.stderr.write("The broker does not answer: workers are told when it does.")
