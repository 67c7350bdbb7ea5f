"""``manage.py bus_recurring``: what recurs, and when it is due next."""

import json
import uuid
from typing import Any, Final

from django.core.management.base import CommandParser

from gateway_app import audit
from gateway_app.commands import BusCommand, host_user, table
from gateway_app.models import RecurringMessage
from gateway_app.recurring import sending
from messaging.database_threads import write_transaction

_HEAD: Final = ("NEXT", "NAME", "WHEN", "TYPE", "TO", "SENT")


class Command(BusCommand):
    """Lists what recurs, or sends one now."""

    help = "List the messages that recur, the next one first; or send one of them now, besides."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what is wanted."""
        parser.add_argument("--json", action="store_true", help="as JSON")
        parser.add_argument(
            "--send", metavar="NAME", help="send this one now: NAME, or SERVICE/NAME as listed"
        )

    def run(self, options: dict[str, Any]) -> None:
        """List them, or send one."""
        rows = list(RecurringMessage.objects.order_by("is_paused", "next_at", "pk"))
        if options["send"] is not None:
            self.stdout.write(_send(rows, options["send"]))
        elif options["json"]:
            self.print_json([_described(row) for row in rows])
        elif not rows:
            self.stdout.write("Nothing recurs.")
        else:
            self.stdout.write(table([_HEAD, *map(_line, rows)]))


def _send(rows: list[RecurringMessage], name: str) -> str:
    row = next((row for row in rows if str(row) == name), None)
    if row is None:
        known = ", ".join(map(str, rows)) or "none"
        raise ValueError(f"nothing recurs by the name of {name!r}; there is {known}")
    with write_transaction():
        detail = f"{row}: sent at once"
        audit.record("recurring", actor=host_user(), service=row.target, detail=detail)
        return sending.send(row, f"now {uuid.uuid4()}")


def _described(row: RecurringMessage) -> dict[str, Any]:
    return {
        "name": row.name,
        "service": row.service,
        "type": row.type,
        "to": row.target,
        "data": json.loads(row.data_json),
        "priority": row.priority,
        "every": row.every_seconds,
        "cron": row.cron,
        "timezone": row.timezone,
        "expires_in": row.expires_in_seconds,
        "overlaps": row.overlaps,
        "paused": row.is_paused,
        "next_at": row.next_at and row.next_at.isoformat(),
        "last_at": row.last_at and row.last_at.isoformat(),
        "last_message_id": row.last_message_id,
        "sent": row.sent,
        "left_out": row.left_out,
    }


def _line(row: RecurringMessage) -> tuple[str, ...]:
    next_at = f"{row.next_at:%Y-%m-%d %H:%M:%S} UTC" if row.next_at else "paused"
    return next_at, str(row), row.when, row.type, row.target or "all", str(row.sent)
