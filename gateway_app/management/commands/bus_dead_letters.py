"""``manage.py bus_dead_letters``: messages that were given up."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from gateway_app import deadletter_groups, deadletters
from gateway_app.commands import BusCommand, add_filters, one_of, table
from gateway_app.deadletter_groups import Group
from gateway_app.models import DeadLetterState

#: Longer errors are cut in the table; ``--json`` has them whole.
_ERROR_WIDTH = 60
#: More groups than anybody reads.
_MOST_GROUPS = 1_000


class Command(BusCommand):
    """Lists dead letters, oldest first, or their groups."""

    help = (
        "List the messages that were given up, oldest first; with --groups those with one cause "
        "together, newest first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add filters, ``--groups`` and ``--json``."""
        parser.add_argument("--json", action="store_true", help="print only JSON")
        parser.add_argument("--groups", action="store_true", help="by cause, with counts")
        parser.add_argument(
            "--state",
            type=one_of(DeadLetterState),
            metavar="NAME",
            help=f"in this state: {', '.join(DeadLetterState)}",
        )
        add_filters(parser)

    def run(self, options: dict[str, Any]) -> None:
        """List them."""
        if options["groups"]:
            self._list_groups(options)
            return
        found = deadletters.find(options)
        letters = [deadletters.describe(letter) for letter in found.iterator()]
        if options["json"]:
            self.print_json(letters)
        elif not letters:
            self.stdout.write("No dead letters.")
        else:
            self.stdout.write(table([_HEADING, *map(_row, letters)]))

    def _list_groups(self, options: dict[str, Any]) -> None:
        groups = deadletter_groups.matching(options, options["state"], most=_MOST_GROUPS)
        if options["json"]:
            self.print_json([_described(group) for group in groups])
        elif not groups:
            self.stdout.write("No dead letters.")
        else:
            self.stdout.write(table([_GROUP_HEADING, *map(_group_row, groups)]))


_HEADING = ("PARKED AT", "SERVICE", "TYPE", "REASON", "ATTEMPTS", "STATE", "ERROR", "ID")
_GROUP_HEADING = (
    *("FINGERPRINT", "COUNT", "PARKED", "TOTAL", "LAST PARKED AT", "SERVICE", "TYPE", "REASON"),
    *("VERSIONS", "OWNER", "TITLE"),
)


def _row(letter: dict[str, Any]) -> tuple[str, ...]:
    return (
        letter["parked_at"][:19],
        letter["service"],
        letter["type"] or "(unreadable)",
        letter["reason"],
        str(letter["attempts"]),
        letter["state"],
        _short(letter["error"]),
        letter["id"],
    )


def _group_row(group: Group) -> tuple[str, ...]:
    return (
        group.fingerprint,
        str(group.count),
        str(group.parked),
        str(group.total),
        group.last_parked_at.isoformat()[:19],
        group.service,
        group.type or "(unreadable)",
        group.reason,
        ", ".join(group.versions),
        group.owner,
        _short(group.title),
    )


def _described(group: Group) -> dict[str, Any]:
    return {
        **asdict(group),
        "first_parked_at": group.first_parked_at.isoformat(),
        "last_parked_at": group.last_parked_at.isoformat(),
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _ERROR_WIDTH else f"{line[: _ERROR_WIDTH - 1]}…"
