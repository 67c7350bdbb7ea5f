"""How the ``bus_…`` commands fail: one line on stderr, and an exit code that tells.

0 done, 1 the bus could not do it, 2 wrong input or setup, 130 Ctrl-C.
"""

import json
import sys
from typing import Any, Final, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging.errors import (
    ConfigurationError,
    EncodeError,
    MessageTooLarge,
    MessagingError,
)

FAILED: Final = 1
WRONG_INPUT: Final = 2
INTERRUPTED: Final = 130


class OneLineParser(CommandParser):
    """A parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the page of usage."""
        sys.stderr.write(f"{self.prog}: {message}\n")
        raise SystemExit(WRONG_INPUT)


class OneLineArguments(BaseCommand):
    """A command whose arguments, where they are wrong, are told in one line."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return a parser whose errors take one line."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.__class__ = OneLineParser
        return parser


class OneLineCommand(OneLineArguments):
    """A command whose failures take one line. Subclasses implement `run`."""

    # They would import the admin and all its templates: a third of a second for each command.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command; turn every failure into its line and exit code."""
        try:
            self.run(options)
        except MessagingError as exc:
            error = self.explained(exc)
            is_wrong = isinstance(error, (ConfigurationError, EncodeError, MessageTooLarge))
            code = WRONG_INPUT if is_wrong else FAILED
            raise CommandError(_one_line(error), returncode=code) from exc
        except ValueError as exc:
            raise CommandError(_one_line(exc), returncode=WRONG_INPUT) from exc
        except KeyboardInterrupt:
            raise CommandError("stopped", returncode=INTERRUPTED) from None

    def run(self, options: dict[str, Any]) -> None:
        """Do what the command is for.

        Raises:
            MessagingError: the bus could not do it; exit code 1.
            ValueError, ConfigurationError, EncodeError, MessageTooLarge: wrong input or setup;
                exit code 2.
        """
        raise NotImplementedError

    def explained(self, error: MessagingError) -> MessagingError:
        """Return the error that is told; for those who know more of it."""
        return error

    def print_json(self, value: Any) -> None:
        """Write a value to stdout as JSON, and nothing else."""
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
