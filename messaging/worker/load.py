"""What a worker has in hand, counted so that counting costs next to nothing per message."""

from collections.abc import Callable
from typing import Any

from messaging.clock import SYSTEM_CLOCK
from messaging.worker.delivery import Delivery
from messaging.worker.pool import ThreadPool


class Load:
    """Counts the deliveries of one worker; told with its heartbeats.

    Written where deliveries come and go, on the event loop or by the pool's threads; read anywhere
    without a lock, so one message more or less may be in it.

    Args:
        pool: handles the deliveries.
        is_paused: whether the worker takes none just now.
    """

    def __init__(self, pool: Any, is_paused: Callable[[], bool] = lambda: False) -> None:
        self._pool = pool
        self._is_paused = is_paused
        #: Deliveries taken since the start, bad ones and those given back included.
        self.consumed = 0
        #: Of pools of Celery's: each delivery that runs, and when it was begun with.
        self._began: dict[int, tuple[float, Any]] = {}

    def began(self, delivery: Any) -> None:
        """Note that a process of the pool has begun with a delivery."""
        self._began[id(delivery)] = SYSTEM_CLOCK.monotonic(), delivery

    def ended(self, delivery: object) -> None:
        """Note that it is done with it, or dead."""
        self._began.pop(id(delivery), None)

    def report(self) -> dict[str, Any]:
        """Return the load as heartbeats carry it.

        ``consumed``, deliveries taken since the start; ``busy``, handlers that run; ``capacity``,
        how many may run at once; ``oldest_seconds``, for how long the longest of them has been
        running; ``overdue``, how many have been for longer than they may, those without a limit
        never; ``paused``, there only where it takes no messages.
        """
        if isinstance(self._pool, ThreadPool):
            running = self._pool.running()
        else:
            running = list(self._began.copy().values())
        now = SYSTEM_CLOCK.monotonic()
        oldest_seconds = max((now - began for began, _ in running), default=0.0)
        return {
            "consumed": self.consumed,
            "busy": len(running),
            "capacity": self._pool.limit,
            "oldest_seconds": round(max(oldest_seconds, 0.0), 3),
            "overdue": sum(_is_overdue(delivery, now - began) for began, delivery in running),
            **({"paused": True} if self._is_paused() else {}),
        }


def _is_overdue(delivery: Any, seconds: float) -> bool:
    return isinstance(delivery, Delivery) and seconds > delivery.limit_seconds
