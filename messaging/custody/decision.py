"""When to publish again what was published and not received: a pure function.

A plain timer collapses under any backlog: copies breed backlog, and backlog delays receipts. So a
message goes out again only when there is a sign that it is lost, or none that its queue moves.
The rules are those of ``docs/custody.md``, "When to publish again", simulated there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

#: In receipt timeouts: a receipt this long ago still says that the receiver works on its queue,
#: and the longest pause after a publish. 10 minutes at the default of 30 s.
PATIENCE: Final = 20.0
#: Doublings of a pause; more would change nothing.
_MOST_DOUBLINGS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a target has told in the last `PATIENCE` receipt timeouts."""

    #: The newest instant at which something it has accepted was first published.
    accepted_published_at: datetime | None = None
    #: Its last receipt.
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do with one row now, and when to look again."""

    publishes: bool
    look_seconds: float


def decide(
    *,
    first_published_at: datetime | None,
    published_at: datetime | None,
    publishes: int,
    progress: Progress,
    is_down: bool,
    queue_length: Callable[[], int],
    receipt_seconds: float,
    now: datetime,
) -> Verdict:
    """Return whether a row that is due is published again.

    Args:
        first_published_at: since the broker last lost its contents; None: not yet.
        published_at: last time.
        publishes: how often.
        progress: what its target has told lately.
        is_down: whether the registry knows the target to be down.
        queue_length: asks the broker; called only where it matters.
        receipt_seconds: how long a receipt may take when nothing is in its way.
        now: the instant of the decision.
    """
    doubled = 2.0 ** min(max(publishes - 1, 0), _MOST_DOUBLINGS)
    patience_seconds = PATIENCE * receipt_seconds
    again = Verdict(publishes=True, look_seconds=min(patience_seconds, receipt_seconds * doubled))
    wait = Verdict(publishes=False, look_seconds=receipt_seconds)
    wait_for_return = Verdict(publishes=False, look_seconds=patience_seconds)
    if first_published_at is None or published_at is None:
        return Verdict(publishes=True, look_seconds=receipt_seconds)
    newest, told_at = progress.accepted_published_at, progress.told_at
    if newest is not None and newest >= published_at + timedelta(seconds=receipt_seconds):
        return again  # something sent clearly later has overtaken it
    if is_down:
        return wait_for_return  # there may be many, and the broker has them
    if told_at is not None and now - told_at < timedelta(seconds=receipt_seconds):
        return wait  # the queue moves and has not come to it
    believed_until = published_at + timedelta(seconds=patience_seconds * doubled)
    if (told_at is not None or now < believed_until) and queue_length() > 0:
        return wait
    return again
