"""``manage.py bus_dead_letters``: messages that were given up."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import deadletters
from gateway_app.commands import BusCommand, add_filters, table
from gateway_app.models import DeadLetterState

#: Longer errors are cut in the table; ``--json`` has them whole.
_ERROR_WIDTH = 60


class Command(BusCommand):
    """Lists dead letters, oldest first."""

    help = "List the messages that were given up, oldest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add filters and ``--json``."""
        parser.add_argument("--json", action="store_true", help="print only JSON")
        parser.add_argument("--state", choices=list(DeadLetterState), help="in this state")
        add_filters(parser)

    def run(self, options: dict[str, Any]) -> None:
        """List them."""
        found = deadletters.find(options)
        letters = [deadletters.describe(letter) for letter in found.iterator()]
        if options["json"]:
            self.print_json(letters)
        elif not letters:
            self.stdout.write("No dead letters.")
        else:
            self.stdout.write(table([_HEADING, *map(_row, letters)]))


_HEADING = ("PARKED AT", "SERVICE", "TYPE", "REASON", "ATTEMPTS", "STATE", "ERROR", "ID")


def _row(letter: dict[str, Any]) -> tuple[str, ...]:
    error = " ".join(letter["error"].split())
    return (
        letter["parked_at"][:19],
        letter["service"],
        letter["type"] or "(unreadable)",
        letter["reason"],
        str(letter["attempts"]),
        letter["state"],
        error if len(error) <= _ERROR_WIDTH else f"{error[: _ERROR_WIDTH - 1]}…",
        letter["id"],
    )
