"""``manage.py bus_edit ID JSON``: send a dead letter's message with other data."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import deadletters, editing
from gateway_app.commands import BusCommand, host_user, json_value
from gateway_app.models import DeadLetterState
from messaging.envelope import new_message_id


class Command(BusCommand):
    """Sends a parked message with other data."""

    help = (
        "Send a parked message with other data, as a new message to the service that gave it up. "
        "Prints the new id. The dead letter stays as it is; bus_replay leaves it out from now on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the message, its data, and what makes it safe to repeat."""
        parser.add_argument("id", metavar="ID", help="of the message that was given up")
        parser.add_argument("data", metavar="JSON", type=json_value, help="the payload")
        parser.add_argument("--service", metavar="NAME", help="where several gave it up")
        parser.add_argument("--key", metavar="KEY", help="the same key sends it once")

    def run(self, options: dict[str, Any]) -> None:
        """Send it."""
        wanted = {"id": options["id"], "service": options["service"]}
        letters = list(deadletters.find({**wanted, "state": DeadLetterState.PARKED})[:2])
        if len(letters) != 1:
            found = "several services gave it up: name one with --service" if letters else "none"
            raise ValueError(f"expected one parked dead letter of {options['id']}: {found}")
        key = options["key"] or new_message_id()
        self.stdout.write(
            editing.send_edited(letters[0], options["data"], actor=host_user(), key=key)
        )
