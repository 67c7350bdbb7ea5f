"""What an instance said of its load with its last heartbeat, as far as it can be believed."""

import json
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a worker was when it last said so; see `messaging.presence`."""

    #: Deliveries taken since it started.
    consumed: int
    #: Handlers that ran.
    busy: int
    #: Handlers that may run at once; more than 0.
    capacity: int
    #: How long the longest of them had been running.
    oldest_seconds: float
    #: Handlers that had been running for longer than they may.
    overdue: int = 0
    #: Whether it took no messages, because an operator wants it so.
    is_paused: bool = False

    @classmethod
    def of(cls, load_json: str) -> Self | None:
        """Return the load; None where there is none, or one that says nothing."""
        if not load_json:
            return None
        try:
            data: Any = json.loads(load_json)
            load = cls(
                consumed=int(data["consumed"]),
                busy=int(data["busy"]),
                capacity=int(data["capacity"]),
                oldest_seconds=float(data["oldest_seconds"]),
                # A worker that does not say so has none.
                overdue=int(data.get("overdue", 0)),
                is_paused=data.get("paused") is True,
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            # It comes from a service, in whatever language that is written: without it the
            # instance is judged by its heartbeats and checks alone.
            return None
        return load if load.capacity > 0 else None

    @property
    def is_full(self) -> bool:
        """Whether no handler was free."""
        return self.busy >= self.capacity

    @property
    def is_hung(self) -> bool:
        """Whether no handler was free, and every one had been running for longer than it may."""
        return self.is_full and self.overdue >= self.busy
