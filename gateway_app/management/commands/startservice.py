"""``manage.py startservice NAME``: a new service that runs and passes its test at once."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from gateway_app.new_service import NewService, NotWritten
from messaging.commands import WRONG_INPUT, OneLineArguments


class Command(OneLineArguments):
    """Writes ``services/NAME/``, its test, and its line in the Procfile."""

    help = (
        "Write services/NAME/ with contract, handlers, Celery app and README, a test of it, and "
        "its line in the Procfile. Exit code 2, and nothing written, if the name cannot be taken."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the name."""
        parser.add_argument("name", metavar="NAME", help="of the folder, such as billing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it, and say what to do next."""
        new = NewService(settings.BASE_DIR, options["name"])
        try:
            new.write()
        except (NotWritten, OSError) as exc:
            raise CommandError(str(exc), returncode=WRONG_INPUT) from exc
        self.stdout.write(
            f"Wrote {new.folder.relative_to(new.root)}/, {new.test.relative_to(new.root)} and a "
            "line in the Procfile. Next:\n"
            "  make run\n"
            f"  python manage.py bus_request {new.service} {new.topic}.hello "
            '\'{"name": "Ada"}\'\n'
            f"  python -m pytest {new.test.relative_to(new.root)}"
        )
