"""One delivery in a worker: what Celery's bookkeeping, events and remote control see of it."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker import state
from kombu.message import Message

from messaging.codec import TASK_NAME
from messaging.custody.arrival import arrival_of
from messaging.envelope import Envelope
from messaging.once import limit_seconds
from messaging.outcome import Outcome


class _Task:
    """The one thing Celery's shutdown asks of a request's task."""

    acks_late = True
    name = TASK_NAME


class Delivery:
    """Stands where Celery has its ``Request``, without parsing and tracing what it has no use for.

    `inspect active` and `reserved`, `query_task`, warm and cold shutdown, and the task events that
    Flower reads all work on it.
    """

    task = _Task

    def __init__(self, message: Message, envelope: Envelope, consumer: Any) -> None:
        self.message = message
        self.envelope = envelope
        self.id = envelope.id
        #: Flower and logs show message types, not the one task that carries them all.
        self.name = envelope.type
        self.acknowledged = False
        self.time_start: float | None = None
        self.worker_pid: int | None = None
        self.consumer = consumer
        #: Who tells monitors of it; None: nobody asked.
        self.events = consumer.task_events if consumer.task_events.is_wanted(envelope) else None
        #: Time in the pool.
        self.seconds = 0.0

    @property
    def limit_seconds(self) -> float:
        """How long its handler may run; see `once.limit_seconds`."""
        communicator = self.consumer.app.communicator
        return limit_seconds(communicator, self.envelope, arrival_of(self.message))

    def reserve(self) -> None:
        """Put it on Celery's list of what this worker holds."""
        state.task_reserved(self)
        if self.events is not None:
            self.events.received(self)

    def accept(self, pid: int, _accepted_at: float) -> None:
        """Note that a thread or process of the pool has begun with it."""
        self.worker_pid = pid
        self.time_start = time.monotonic()
        state.task_accepted(self)
        if self.events is not None:
            self.events.started(self)

    def end(self, outcome: Outcome) -> None:
        """Have it settled where the connection lives. From any thread."""
        self.consumer.loop_calls.call(self.ended(outcome))

    def ended(self, outcome: Outcome) -> Callable[[], None]:
        """Note the end and return what settles it, where the connection lives."""
        if self.time_start is not None:
            self.seconds = time.monotonic() - self.time_start
        return partial(self._finish, outcome)

    def give_back(self) -> None:
        """Return it unhandled, for a worker that has a thread free. On the event loop."""
        state.task_ready(self)
        try:
            self.consumer.prefetch.note_standstill()
        finally:
            self.consumer.requeue(self.message)

    def _finish(self, outcome: Outcome) -> None:
        state.task_ready(self)
        if outcome.is_settled:
            self.acknowledged = True
            self.consumer.acks.done(self.message)
        else:
            self.consumer.requeue_later(self.message)
        self.consumer.prefetch.note(self.seconds)
        self.consumer.flow.note(self.envelope, self.seconds, outcome)
        if self.events is not None:
            self.events.ended(self, outcome)

    def cancel(self, _pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Leave it unsettled at a cold shutdown: the broker delivers it again."""

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Return what `celery inspect active` shows; never the payload."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self.summary,
            "kwargs": {},
            "type": TASK_NAME,
            "hostname": self.consumer.hostname,
            "time_start": self.time_start,
            "acknowledged": self.acknowledged,
            "delivery_info": {
                "priority": self.envelope.priority,
                "redelivered": bool(self.message.delivery_info.get("redelivered")),
            },
            "worker_pid": self.worker_pid,
        }

    @property
    def summary(self) -> str:
        """What it is, without what it says."""
        envelope = self.envelope
        return f"({envelope.kind} {envelope.source} -> {envelope.target or '*'})"
