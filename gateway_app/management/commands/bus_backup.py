"""``manage.py bus_backup``: database and embedded broker, copied while they are in use."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from gateway_app.backup.taking import take
from gateway_app.commands import BusCommand, table


class Command(BusCommand):
    """Takes a backup."""

    help = (
        "Copy the SQLite database and the embedded broker's file, both as they are at one "
        "instant, into a new folder. Everything may go on running."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the folder."""
        parser.add_argument("directory", metavar="DIRECTORY", type=Path, help="to be made")

    def run(self, options: dict[str, Any]) -> None:
        """Take it, and say what is in it."""
        target = options["directory"].absolute()
        taken = take(target)
        rows: list[tuple[str, ...]] = [("WHAT", "COUNT")]
        rows += [(what, str(count)) for what, count in taken.counts.items()]
        self.stdout.write(table(rows))
        self.stdout.write(f"\n{target}: as of {taken.taken_at}")
