"""Publishing rows of the outbox, many at a time, and noting what became of each."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from messaging.batches import Copy, has_broker_failed
from messaging.custody import outbox
from messaging.custody.outbox import BROKER_AWAY_SECONDS, Key, Published
from messaging.envelope import utc_now
from messaging.errors import MessagingError

if TYPE_CHECKING:
    from messaging.bus import MessageBus

logger = logging.getLogger(__name__)

#: Longest pause between tries of a message that the broker refuses.
REFUSED_CAP_SECONDS: Final = 300.0


class Sent(NamedTuple):
    """A row that this process has claimed, and what goes over the wire for it."""

    key: Key
    copy: Copy
    #: How long a receipt may take before somebody looks.
    wait_seconds: float
    #: How often the broker has refused it.
    failures: int = 0


def send(bus: "MessageBus", rows: Sequence[Sent], epoch: str) -> list[MessagingError | None]:
    """Publish rows and note the outcome of each, in few transactions.

    Args:
        bus: where to publish.
        rows: in this order.
        epoch: as it was before: what the broker loses from then on shows as another one.

    Returns:
        For each what went wrong; None: the broker has it. What did not go out is due again: soon
        where the broker failed, less and less often where it refuses the message.
    """
    errors = bus.publish_all([row.copy for row in rows])
    outcomes = list(zip(rows, errors, strict=True))
    # Marked first: what was confirmed must not go out again for another one's failure.
    outbox.mark_published(
        Published(row.key, epoch, row.wait_seconds) for row, error in outcomes if error is None
    )
    failed = [(row.key, error) for row, error in outcomes if has_broker_failed(error)]
    if failed:
        again = utc_now() + timedelta(seconds=BROKER_AWAY_SECONDS)
        outbox.postpone([key for key, _ in failed], again, str(failed[0][1]), refused=False)
    for row, error in outcomes:
        if error is not None and not has_broker_failed(error):
            refuse(row.key, row.failures, error)
    return errors


def refused_pause_seconds(failures: int) -> float:
    """Return how long to wait with what the broker has refused that often before."""
    return min(REFUSED_CAP_SECONDS, 2.0 ** min(failures, 16))


def refuse(key: Key, failures: int, error: MessagingError) -> None:
    """Keep a message that cannot go out, with the reason, and try it less often."""
    pause = refused_pause_seconds(failures)
    logger.error("outbox: %s was refused, again in %g s: %s", key, pause, error)
    again = utc_now() + timedelta(seconds=pause)
    outbox.postpone([key], again, str(error), refused=True)
