"""``manage.py bus_explain ID``: the story of one message."""

from typing import Any

from django.core.management.base import CommandParser

from gateway_app import story
from gateway_app.commands import BusCommand


class Command(BusCommand):
    """Says what became of a message, and what to do."""

    help = "Tell the story of one message, and what to do next."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the message."""
        parser.add_argument("id", metavar="ID", help="id of the message")

    def run(self, options: dict[str, Any]) -> None:
        """Tell it."""
        found = story.tell(options["id"])
        if found is None:
            raise ValueError(
                f"this database knows nothing of {options['id']}: a message that is not under "
                "custody leaves no trace while it waits in a queue, nor when its first "
                "delivery is handled"
            )
        for line in found.lines:
            when = f"{line.at:%Y-%m-%d %H:%M:%S}" if line.at else " " * 19
            self.stdout.write(f"{when}  {' '.join(line.text.split())}")
        self.stdout.write(f"Next: {found.next_step or 'nothing is left to be done'}.")
