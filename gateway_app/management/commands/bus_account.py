"""``manage.py bus_account``: the balance of the ledger."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from gateway_app import ledger
from gateway_app.commands import BusCommand, host_user, instant, table

#: Open messages that are shown; ``--json`` has more.
_SHOWN = 20


class Command(BusCommand):
    """Says what was sent under custody, and what became of it."""

    help = (
        "Balance the ledger of this database: every message sent under custody has an end, is on "
        "its way, or is unaccounted for; exit code 1 if any is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the time span and ``--json``."""
        parser.add_argument("--since", type=instant, metavar="T", help="from then on, or this old")
        parser.add_argument("--json", action="store_true", help="print only JSON")
        parser.add_argument(
            "--reopen",
            action="store_true",
            help="send again what a receiver has lost after accepting it",
        )

    def run(self, options: dict[str, Any]) -> None:
        """Balance it."""
        if options["reopen"]:
            self.stderr.write(f"{ledger.reopen(host_user())} sent again")
        account = ledger.account(options["since"])
        if options["json"]:
            self.print_json(account.to_json())
        else:
            self._show(account)
        if account.unaccounted:
            raise CommandError(f"{account.unaccounted} messages are unaccounted for")

    def _show(self, account: ledger.Account) -> None:
        for name, count in {**account.counts, "duplicates": account.duplicates}.items():
            self.stdout.write(f"{name.replace('_', ' '):<12} {count:>8}")
        if account.messages:
            rows = [(m["service"], m["type"], m["where"], m["id"]) for m in account.messages]
            self.stdout.write("")
            self.stdout.write(table([("SERVICE", "TYPE", "WHERE", "ID"), *rows[:_SHOWN]]))
        if len(account.messages) > _SHOWN:
            self.stdout.write(f"… and {len(account.messages) - _SHOWN} more; --json lists them")
