"""``manage.py bus_note FINGERPRINT``: who looks after a group of dead letters, what is known."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import deadletter_groups
from gateway_app.commands import BusCommand, host_user


class Command(BusCommand):
    """Sets owner and note of a group."""

    help = "Say who looks after a group of dead letters (bus_dead_letters --groups), and a note."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the group, ``--owner`` and ``--note``."""
        parser.add_argument("fingerprint", metavar="FINGERPRINT")
        parser.add_argument("--owner", metavar="NAME", help="empty: nobody")
        parser.add_argument("--note", metavar="TEXT", help="empty: none")

    def run(self, options: dict[str, Any]) -> None:
        """Set what was given."""
        if options["owner"] is None and options["note"] is None:
            raise ValueError("expected --owner or --note")
        try:
            changed = deadletter_groups.annotate(
                options["fingerprint"],
                owner=options["owner"],
                note=options["note"],
                actor=host_user(),
            )
        except deadletter_groups.NoSuchGroup as exc:
            raise ValueError(str(exc)) from exc
        self.stdout.write("Noted." if changed else "Noted already.")
