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
#: Weight of the latest message in the average, and how many are averaged plainly at first.
_WEIGHT: Final = 1 / 16
#: Nothing is held ahead before so many were seen.
_LEAST: Final = 4


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
        self._seen = 0
        self._seconds = 0.0

    def note(self, seconds: float) -> None:
        """Take into account that a message took so long."""
        self._seen += 1
        self._seconds += (seconds - self._seconds) * max(_WEIGHT, 1 / self._seen)
        ahead = self._wanted() if self._seen >= _LEAST else 0
        if ahead != self._ahead:
            self._set(ahead)

    def note_standstill(self) -> None:
        """Hold nothing ahead until handlers are seen to be fast again.

        The broker is told at once: it must not send what is about to be given back.
        """
        self._seconds = max(self._seconds, AHEAD_SECONDS)
        self._set(0)
        self._qos.update()

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
