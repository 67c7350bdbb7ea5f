"""``manage.py bus_replay``: have services handle again what they gave up."""

import sys
from typing import Any

from django.core.management.base import CommandParser

from gateway_app import deadletters, hints, resending
from gateway_app.canary import Plan, replay_all
from gateway_app.commands import BusCommand, add_filters, host_user, positive
from gateway_app.models import DeadLetterState
from gateway_app.progress import Progress
from gateway_app.replay_outcomes import has_been_done
from messaging.envelope import is_service_name


class Command(BusCommand):
    """Replays dead letters."""

    help = (
        "Have services handle dead letters again, oldest first. Without a filter: all that are "
        "parked. Ctrl-C leaves nothing half done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add filters, and how it is done."""
        add_filters(parser)
        parser.add_argument("--limit", type=positive, metavar="N", help="at most so many")
        parser.add_argument("--rate", type=positive, metavar="N", help="at most so many a second")
        parser.add_argument(
            "--canary",
            action="store_true",
            help="one first, then a tenth, then the rest; stop where one fails again",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
        parser.add_argument(
            "--as-new", action="store_true", help="under new ids: also what was handled runs again"
        )
        ledger = parser.add_mutually_exclusive_group()
        ledger.add_argument(
            "--critical",
            action="store_true",
            help="not dead letters but CRITICAL messages of the ledger: for a service that lost "
            "its database; what was handled is not handled again",
        )
        ledger.add_argument(
            "--to",
            metavar="NAME",
            help="not dead letters but broadcasts under custody that this service has not had",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="also what may have been handled before; without it, and without --as-new, what "
            "was handled after it had been parked, or was sent with other data, is skipped",
        )

    def run(self, options: dict[str, Any]) -> None:
        """Replay them."""
        if options["critical"] or options["to"] is not None:
            self._resend(options)
        else:
            self._replay(options)

    def _resend(self, options: dict[str, Any]) -> None:
        for name in ("reason", "fingerprint", "canary", "as_new", "force", "rate"):
            if options[name]:
                raise ValueError(f"--{name.replace('_', '-')} is for dead letters")
        if options["to"] is not None:
            if not is_service_name(options["to"]):
                raise ValueError(f"not a service name: {options['to']!r}")
            found = resending.broadcasts_for(options["to"], options, options["limit"])
        else:
            found = resending.critical(options, options["limit"])
        if options["dry_run"]:
            for envelope in found:
                self.stdout.write(f"{envelope.id}  {envelope.target}  {envelope.type}")
            self.stdout.write(f"{len(found)} would be replayed; nothing was changed.")
            return
        with Progress(len(found), sys.stderr) as progress:
            for _ in resending.send_all(found, host_user()):
                progress.step()
        self.stdout.write(f"{len(found)} replayed.")
        if found and options["to"] and (hint := hints.unknown(options["to"])):
            self.stderr.write(f"bus_replay: {hint}")

    def _replay(self, options: dict[str, Any]) -> None:
        if options["canary"] and options["as_new"]:
            raise ValueError("--canary follows messages by their ids, which --as-new changes")
        found = deadletters.find({**options, "state": DeadLetterState.PARKED})
        skipped = 0
        if not (options["force"] or options["as_new"]):
            skipped = found.filter(has_been_done()).count()
            found = found.exclude(has_been_done())
        letters = list(found[: options["limit"]])
        if options["dry_run"]:
            for letter in letters:
                self.stdout.write(f"{letter.message_id}  {letter.service}  {letter.type}")
            self.stdout.write(f"{len(letters)} would be replayed; nothing was changed.")
            return
        plan = Plan(
            actor=host_user(),
            force=options["force"],
            as_new=options["as_new"],
            rate=options["rate"],
            in_groups=options["canary"],
        )
        with Progress(len(letters), sys.stderr) as progress:
            count = replay_all(letters, plan, lambda _letter: progress.step())
        self.stdout.write(f"{count} replayed{_and_skipped(skipped)}.")


def _and_skipped(count: int) -> str:
    return f", {count} skipped: handled or sent with other data meanwhile" if count else ""
