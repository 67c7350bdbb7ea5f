"""What the ``bus_…`` commands have in common: how they speak on the bus, what they are told."""

import getpass
import json
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeVar

from django.core.management.base import CommandParser

from gateway_app import hints
from gateway_app.bus import communicator
from messaging import MessagePriority, MessagingError
from messaging.commands import OneLineCommand
from messaging.deadletter import DeadLetterReason
from messaging.envelope import utc_now

E = TypeVar("E", bound=Enum)

#: Endings of an age, or of a duration.
_AGES: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

#: Of PostgreSQL's integers.
_LARGEST: Final = 2_147_483_647


class BusCommand(OneLineCommand):
    """A command that talks to the bus in the gateway's name. Subclasses implement `run`."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command, and close what it has opened."""
        try:
            super().handle(*args, **options)
        finally:
            communicator.close()

    def explained(self, error: MessagingError) -> MessagingError:
        """Return an error with what it is about: which broker, what to run."""
        return hints.of_error(error)


def json_value(text: str) -> Any:
    """Return the value that a JSON argument stands for."""
    try:
        value = json.loads(text)
        # Python reads NaN, numbers beyond its own and halves of characters; nobody can send them.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise ArgumentTypeError(f"not JSON: {exc}") from exc
    return value


def priority(text: str) -> MessagePriority:
    """Return the priority of that name, in any case."""
    return one_of(MessagePriority)(text.upper())


def one_of(names: type[E]) -> Callable[[str], E]:
    """Return what reads one of these names.

    Not ``choices``: argparse would show what the names are in Python.
    """

    def read(text: str) -> E:
        try:
            return names(text)
        except ValueError as exc:
            known = ", ".join(each.value for each in names)
            raise ArgumentTypeError(f"expected one of {known}, got {text!r}") from exc

    return read


def seconds(text: str) -> float:
    """Return a duration; not negative, not NaN."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise ArgumentTypeError(f"expected a number of seconds from 0, got {text!r}")
    return value


def some_seconds(text: str) -> float:
    """Return a duration that is longer than nothing."""
    value = seconds(text)
    if not value:
        raise ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


def future_instant(text: str) -> datetime:
    """Return an ISO 8601 instant, which must say its offset: whose eight o'clock is it?"""
    try:
        value = datetime.fromisoformat(text)
        value.astimezone(UTC)  # an offset can lead out of the calendar
    except (ValueError, OverflowError):
        value = datetime.min  # noqa: DTZ901 - refused below
    if value.tzinfo is None:
        raise ArgumentTypeError(
            "expected an instant and its offset from UTC, such as 2027-01-31T08:00+01:00, "
            f"got {text!r}"
        )
    return value


def add_timing(parser: CommandParser) -> None:
    """Add ``--delay``, ``--at`` and ``--ordering-key``."""
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--delay", type=seconds, metavar="S", help="send it in S seconds")
    when.add_argument("--at", type=future_instant, metavar="T", help="send it then, ISO 8601")
    parser.add_argument(
        "--ordering-key", metavar="K", help="after those before it of the same key, not beside"
    )


def add_message(parser: CommandParser, *, with_target: bool) -> None:
    """Add the arguments that say what is sent, and to whom."""
    if with_target:
        parser.add_argument("target", metavar="TARGET", help="name of the service")
    parser.add_argument("type", metavar="TYPE", help="message type, such as get.user.details")
    parser.add_argument(
        "data", metavar="JSON", nargs="?", type=json_value, default={}, help="the payload"
    )


def add_priority(parser: CommandParser) -> None:
    """Add ``--priority``."""
    parser.add_argument(
        "--priority",
        type=priority,
        default=MessagePriority.NORMAL,
        metavar="P",
        help="LOW, NORMAL, HIGH or CRITICAL",
    )


def instant(text: str) -> datetime:
    """Return an instant: ISO 8601, UTC where it names no offset, or an age such as 15m, 2h, 3d."""
    unit, number = _AGES.get(text[-1:]), text[:-1]
    try:
        if unit is not None and number.isdecimal():
            return utc_now() - timedelta(**{unit: int(number)})
        found = datetime.fromisoformat(text)
        # Here, and not where the database asks for it: an offset can lead out of the calendar.
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise ArgumentTypeError(
            f"expected an instant such as 2026-01-31T08:00, or an age such as 15m, got {text!r}"
        ) from exc


def duration(longest: timedelta) -> Callable[[str], timedelta]:
    """Return what reads a duration: a whole number with s, m, h or d, at most so long."""

    def read(text: str) -> timedelta:
        found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
        length = timedelta(**{_AGES[found[2]]: int(found[1])}) if found else timedelta()
        if not timedelta() < length <= longest:
            raise ArgumentTypeError(
                f"expected a duration such as 30m, at most {longest.days}d, got {text!r}"
            )
        return length

    return read


def positive(text: str) -> int:
    """Return a whole number from 1 that a database can count to."""
    found = re.fullmatch(r"[0-9]{1,10}", text)
    if found is None or not 0 < int(text) <= _LARGEST:
        raise ArgumentTypeError(f"expected a whole number from 1 to {_LARGEST}, got {text!r:.40}")
    return int(text)


def add_filters(parser: CommandParser) -> None:
    """Add what dead letters can be chosen by."""
    parser.add_argument("--id", metavar="ID", help="of this message")
    parser.add_argument("--service", metavar="NAME", help="given up by this service")
    parser.add_argument("--type", metavar="TYPE", help="of this message type")
    parser.add_argument(
        "--fingerprint", metavar="F", help="of this group (bus_dead_letters --groups)"
    )
    parser.add_argument(
        "--reason",
        type=one_of(DeadLetterReason),
        metavar="NAME",
        help=f"for this reason: {', '.join(DeadLetterReason)}",
    )
    parser.add_argument("--since", type=instant, metavar="T", help="from then on, or this old")
    parser.add_argument("--until", type=instant, metavar="T", help="before then")


def host_user() -> str:
    """Return who runs this command, for the audit record."""
    return f"command:{getpass.getuser()}"


def table(rows: list[tuple[str, ...]]) -> str:
    """Return rows as aligned columns; the first is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
