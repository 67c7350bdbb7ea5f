"""What is said of the queue of one service: pure, from what is known of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from gateway_app.models import SERVING, QueuePause, State
from gateway_app.ops import figures
from gateway_app.ops.queue_history import ALL, PRIORITIES


class Outlook(Enum):
    """Whether a queue will be empty."""

    EMPTY = "empty"
    SHRINKS = "in"
    #: What comes is at least what goes, and something waits.
    NEVER = "never"
    #: Nobody has looked a minute ago.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The queue of one service."""

    service: str
    waiting: int
    #: None: the broker does not tell.
    by_priority: Mapping[str, int] | None = None
    oldest_seconds: float | None = None
    went: float = 0.0
    #: By how many a second it has grown lately; None: not known.
    grows: float | None = None
    states: Sequence[State] = ()
    held: int = 0
    #: Why its workers take nothing, or soon will not; None: they do.
    pause: QueuePause | None = None
    #: How many waited at each look of the last hour.
    lately: Sequence[int] = field(default=())

    @property
    def came(self) -> float | None:
        """How many came per second; None: not known."""
        return None if self.grows is None else max(0.0, self.went + self.grows)

    @property
    def consumers(self) -> int:
        """Instances that take messages."""
        if self.is_paused:
            return 0
        return self.serving

    @property
    def is_paused(self) -> bool:
        """Whether an operator wants it to take no messages."""
        return self.pause is not None and not self.pause.is_draining

    @property
    def serving(self) -> int:
        """Instances that run, whether or not they take messages."""
        return sum(state in SERVING for state in self.states)

    @property
    def outlook(self) -> Outlook:
        """Whether it will be empty."""
        if not self.waiting:
            return Outlook.EMPTY
        if self.came is None:
            return Outlook.UNKNOWN
        return Outlook.NEVER if self.went <= self.came else Outlook.SHRINKS

    @property
    def empty_in_seconds(self) -> float | None:
        """How long until it is empty, as it goes now; None: it will not be, or that is unknown."""
        if self.outlook is not Outlook.SHRINKS or self.came is None:
            return None
        return self.waiting / (self.went - self.came)

    @property
    def grows_by_minute(self) -> float:
        """How many a minute are added to it; 0: none."""
        return max(0.0, 60 * (self.grows or 0.0))


class Piece(NamedTuple):
    """Of a bar: what waits of one priority, in percent of the longest bar."""

    band: str
    x: float
    width: float
    number: int


def pieces(row: Row, most: int) -> list[Piece]:
    """Return the bar of a row, CRITICAL first; one piece where the broker tells no priority."""
    counts = {ALL: row.waiting} if row.by_priority is None else row.by_priority
    found: list[Piece] = []
    x = 0.0
    for band in (*PRIORITIES, ALL):
        if count := counts.get(band, 0):
            width = round(100 * count / max(most, 1), 2)
            found.append(Piece(band, round(x, 2), width, count))
            x += width
    return found


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """Return rows, the longest wait first; by number where the broker tells no age."""
    return sorted(
        rows, key=lambda row: (-(row.oldest_seconds or 0.0), -row.waiting, -row.held, row.service)
    )


def worst(rows: Iterable[Row]) -> Row | None:
    """Return the row that most needs somebody to look at it; None: nothing waits anywhere."""
    waits = [row for row in rows if row.waiting or row.held]
    return max(
        waits,
        key=lambda row: (
            not row.consumers,
            row.outlook is Outlook.NEVER,
            row.waiting + row.held,
            row.empty_in_seconds or 0.0,
        ),
        default=None,
    )


def sentence(row: Row | None) -> tuple[str, str]:
    """Return what to know of the worst row: what is strong, and the rest."""
    if row is None:
        return "Nothing waits.", "Every message is taken as it comes."
    if row.pause is not None and not row.pause.is_draining:
        return (
            f"{row.service} is paused by {row.pause.actor}: {row.pause.reason}.",
            f"{figures.plural(row.waiting, 'message')} wait for it; nothing is lost meanwhile.",
        )
    if not row.consumers:
        said = f"{figures.plural(row.waiting, 'message')} on the broker"
        said += f" and {row.held:,} held in the outbox" if row.held else ""
        away = "is in maintenance" if State.MAINTENANCE in row.states else "does not run"
        return (
            f"Nobody takes from the queue of {row.service}:",
            f"it {away}. {said} wait for it; nothing is lost meanwhile.",
        )
    who = f"its {figures.plural(row.consumers, 'instance')}"
    verb = "handles" if row.consumers == 1 else "handle"
    went = " ".join(figures.rate(row.went))
    if row.outlook is Outlook.NEVER:
        came = " ".join(figures.rate(row.came or 0.0))
        return (
            f"{row.service} does not catch up on its own:",
            f"{who} {verb} {went}, and {came} arrive. Start more instances, or send less.",
        )
    if row.outlook is Outlook.SHRINKS:
        rest = figures.duration_text(row.empty_in_seconds)
        return (
            f"{row.service} has the most to do:",
            f"{figures.plural(row.waiting, 'message')}, and {who} {verb} {went}: "
            f"empty in about {rest}.",
        )
    return (
        f"{row.service} has the most to do:",
        f"{figures.plural(row.waiting + row.held, 'message')}. Whether that grows "
        "is known a minute from now.",
    )
