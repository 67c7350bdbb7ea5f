"""How many messages a worker holds: those in its handlers, and those it will begin in a moment.

What is held is out of reach of priorities and of other workers, so a worker with slow handlers
holds no more than it handles. With fast ones that would cost more than the handlers do: each
message would be fetched and settled by itself. So it holds ahead what it handles in
`AHEAD_SECONDS`, and what turns out to wait longer than `HELD_SECONDS` goes back to the broker.
"""

from typing import Any, Final

#: What is held ahead is begun within this, at the pace of late.
AHEAD_SECONDS: Final = 0.02
#: How many messages may be held ahead; few steps, since each change is told to the broker.
STEPS: Final = (60, 15, 4)
#: A message that has waited so long for a thread goes back to the broker.
HELD_SECONDS: Final = 1.0
#: Weight of the latest message in the average.
_WEIGHT: Final = 1 / 16


class Prefetch:
    """Sets a consumer's prefetch count by how long its handlers take. Used on one thread.

    Args:
        qos: Celery's, which tells the broker when the event loop comes round.
        concurrency: messages handled at the same time.
        goes_ahead: whether more may be held: where the pool gives back what waits too long.
    """

    def __init__(self, qos: Any, concurrency: int, *, goes_ahead: bool) -> None:
        self._qos = qos
        self._steps = STEPS if goes_ahead else ()
        self._concurrency = concurrency
        self._ahead = 0
        #: Nothing is known yet: as slow as to hold nothing ahead.
        self._seconds = AHEAD_SECONDS

    def note(self, seconds: float) -> None:
        """Take into account that a message took so long."""
        self._seconds += (seconds - self._seconds) * _WEIGHT
        ahead = self._wanted()
        if ahead != self._ahead:
            self._set(ahead)

    def note_standstill(self) -> None:
        """Hold nothing ahead until handlers are seen to be fast again."""
        self._seconds = max(self._seconds, AHEAD_SECONDS)
        self._set(0)

    def _wanted(self) -> int:
        for step in self._steps:
            # Twice as fast to go up as to stay: a pace at the border must not go to and fro.
            allowed = AHEAD_SECONDS if step <= self._ahead else AHEAD_SECONDS / 2
            if step * self._seconds <= allowed:
                return step
        return 0

    def _set(self, ahead: int) -> None:
        self._ahead = ahead
        change = self._concurrency + ahead - self._qos.value
        if change > 0:
            self._qos.increment_eventually(change)
        else:
            self._qos.decrement_eventually(-change)
