"""What is known of the services that messages are kept for: do they work on their queues."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from messaging.clock import BUS_CLOCK
from messaging.custody.decision import PATIENCE, Progress, Verdict, decide
from messaging.custody.due import DueMessage
from messaging.custody.link import Link
from messaging.forking import without_fork
from messaging.models import OutboxMessage

if TYPE_CHECKING:
    from messaging.bus import MessageBus

T = TypeVar("T")

#: Answers are used again for so long: a batch of due rows asks once for each target.
CACHE_SECONDS: Final = 5.0
#: Newest receipts of a target that are looked at.
LOOKED_AT: Final = 200


class Targets:
    """Answers of the database and the broker about targets, each remembered for a moment."""

    def __init__(self, bus: "MessageBus") -> None:
        self._bus = bus
        self._link = Link(bus)
        self._progress: dict[str, tuple[float, Progress]] = {}
        self._lengths: dict[str, tuple[float, int]] = {}

    def decide(self, row: DueMessage, now: datetime) -> Verdict:
        """Return what to do with a published row that is due; see `decision`."""
        target = row.key.target
        return decide(
            first_published_at=row.first_published_at,
            published_at=row.published_at,
            publishes=row.publishes,
            progress=_cached(self._progress, target, lambda: self._ask_progress(target, now)),
            is_down=self._bus.down.includes(target),
            queue_length=lambda: self.queue_length(target),
            receipt_seconds=self._bus.config.receipt_timeout_seconds,
            now=now,
        )

    @without_fork
    def _ask_progress(self, target: str, now: datetime) -> Progress:
        patience = timedelta(seconds=PATIENCE * self._bus.config.receipt_timeout_seconds)
        rows = list(
            # What a clock that has jumped back has dated says nothing of the present.
            OutboxMessage.objects.filter(target=target, told_at__range=(now - patience, now))
            .order_by("-told_at")
            .values_list("told_at", "first_published_at")[:LOOKED_AT]
        )
        published = [published_at for _, published_at in rows if published_at is not None]
        return Progress(
            accepted_published_at=max(published, default=None),
            told_at=rows[0][0] if rows else None,
        )

    def queue_length(self, service: str) -> int:
        """Return how many messages wait for a service."""
        return _cached(self._lengths, service, lambda: self._link.queue_length(service))


def _cached(known: dict[str, tuple[float, T]], name: str, ask: Callable[[], T]) -> T:
    now = BUS_CLOCK.monotonic()
    answer = known.get(name)
    if answer is None or now - answer[0] > CACHE_SECONDS:
        answer = known[name] = now, ask()
    return answer[1]
