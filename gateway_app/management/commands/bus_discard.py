"""``manage.py bus_discard``: nobody will handle these dead letters; or, with --undo, they may."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import deadletters, replays
from gateway_app.commands import BusCommand, add_filters, host_user
from gateway_app.models import DeadLetterState


class Command(BusCommand):
    """Discards dead letters, and restores them."""

    help = (
        "Discard the parked dead letters that match. With --undo, park those that were "
        "discarded again: they are kept for MESSAGING_RETENTION_DAYS."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add filters, ``--undo`` and ``--why``."""
        add_filters(parser)
        parser.add_argument("--undo", action="store_true", help="park what was discarded again")
        parser.add_argument("--why", default="", metavar="TEXT", help="for the record")

    def run(self, options: dict[str, Any]) -> None:
        """Discard or restore them."""
        if all(options[name] is None for name in deadletters.FILTERS if name != "state"):
            raise ValueError("expected a filter, such as --id or --fingerprint")
        undo = options["undo"]
        state = DeadLetterState.DISCARDED if undo else DeadLetterState.PARKED
        count = 0
        for letter in list(deadletters.find({**options, "state": state})):
            if undo:
                count += replays.restore(letter, actor=host_user())
            else:
                count += replays.discard(letter, actor=host_user(), why=options["why"])
        self.stdout.write(f"{count} {'restored' if undo else 'discarded'}.")
