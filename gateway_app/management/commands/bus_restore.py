"""``manage.py bus_restore``: an installation of files as it was when a backup was taken."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from gateway_app.backup.restoring import restore
from gateway_app.commands import BusCommand


class Command(BusCommand):
    """Restores a backup."""

    help = (
        "Put what bus_backup copied in the place of the present files, which are kept under "
        "another name. Everything has to be stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the folder."""
        parser.add_argument("directory", metavar="DIRECTORY", type=Path, help="of the backup")

    def run(self, options: dict[str, Any]) -> None:
        """Restore it, and say where the present files are now."""
        done = restore(options["directory"].absolute())
        for path in done.kept:
            self.stdout.write(f"kept: {path}")
        self.stdout.write(f"restored: as of {done.manifest.taken_at}")
        if done.needs_migrate:
            self.stdout.write("run manage.py migrate before anything starts")
