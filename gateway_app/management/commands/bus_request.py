"""``manage.py bus_request TARGET TYPE [JSON]``: a question and its answer."""

import logging
from typing import Any

from django.core.management.base import CommandParser

from gateway_app.bus import communicator
from gateway_app.commands import BusCommand, add_message, seconds


class Command(BusCommand):
    """Asks one service and prints the answer as JSON."""

    help = "Ask a service and print its answer as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is asked, and how long to wait."""
        add_message(parser, with_target=True)
        parser.add_argument(
            "--timeout", type=seconds, metavar="S", help="wait S seconds for the answer"
        )

    def run(self, options: dict[str, Any]) -> None:
        """Ask, and print."""
        # That the reply queue cannot be read is told by the error.
        logging.getLogger("messaging.queue_reader").setLevel(logging.ERROR)
        answer = communicator.request(
            options["target"], options["type"], options["data"], timeout=options["timeout"]
        )
        self.print_json(answer)
