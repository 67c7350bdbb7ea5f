"""``manage.py bus_replay_runs``: replays that the gateway's workers go through by themselves."""

from typing import Any, Final

from django.core.management.base import CommandParser

from gateway_app import deadletters, replay_runs
from gateway_app.commands import BusCommand, add_filters, host_user, positive, table
from gateway_app.models import ReplayRun
from messaging.envelope import new_message_id

_SHOWN: Final = 20
_DEFAULT_RATE: Final = 10


class Command(BusCommand):
    """Lists, starts and stops replay runs."""

    help = (
        "List the newest replay runs. With --start, begin one of the parked dead letters that "
        "match, and return: workers of the gateway do it. With --stop, stop one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is done, filters, and how."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--start", action="store_true", help="begin a run; needs a filter")
        what.add_argument(
            "--stop", type=positive, metavar="RUN", help="stop the run of this number"
        )
        add_filters(parser)
        parser.add_argument(
            "--rate",
            type=positive,
            default=_DEFAULT_RATE,
            metavar="N",
            help="at most so many a second",
        )
        parser.add_argument("--canary", action="store_true", help="three, to see how they do")
        parser.add_argument("--key", metavar="KEY", help="the same key starts it once")
        parser.add_argument("--json", action="store_true", help="print only JSON")

    def run(self, options: dict[str, Any]) -> None:
        """List, start or stop."""
        if options["start"]:
            runs = [self._start(options)]
        elif options["stop"]:
            runs = [self._stop(options["stop"])]
        else:
            runs = list(ReplayRun.objects.order_by("-pk")[:_SHOWN])
        if options["json"]:
            self.print_json([replay_runs.describe(run) for run in runs])
        elif not runs:
            self.stdout.write("No replay runs.")
        else:
            self.stdout.write(table([_HEADING, *map(_row, runs)]))

    def _start(self, options: dict[str, Any]) -> ReplayRun:
        wanted = {name: options[name] for name in deadletters.FILTERS if name != "state"}
        return replay_runs.start(
            wanted,
            actor=host_user(),
            rate=options["rate"],
            key=options["key"] or new_message_id(),
            canary=options["canary"],
        )

    def _stop(self, number: int) -> ReplayRun:
        run = ReplayRun.objects.filter(pk=number).first()
        if run is None:
            raise ValueError(f"no replay run {number}")
        replay_runs.stop(run, actor=host_user())
        run.refresh_from_db()
        return run


_COLUMNS: Final = ("id", "state", "handled", "skipped", "parked_again", "sent", "to_go", "why")
_HEADING: Final = tuple(name.upper().replace("_", " ") for name in _COLUMNS)


def _row(run: ReplayRun) -> tuple[str, ...]:
    described = replay_runs.describe(run)
    return tuple(" ".join(str(described[name]).split()) for name in _COLUMNS)
