"""One delivery in a worker: what Celery's bookkeeping, events and remote control see of it."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery.worker import state
from kombu.message import Message

from messaging.codec import TASK_NAME
from messaging.envelope import Envelope, MessageKind
from messaging.outcome import Outcome
from messaging.registration import PERISHABLE

logger = logging.getLogger(__name__)

#: A message that could not be settled comes again after this. Whatever was in the way (a
#: database, a crashing handler) must not be tried in a tight loop.
REDELIVER_AFTER_SECONDS: Final = 1.0


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
        #: Time in the pool.
        self.seconds = 0.0

    def reserve(self) -> None:
        """Put it on Celery's list of what this worker holds."""
        state.task_reserved(self)
        if self._sends_events():
            self._send_event(
                "task-received", **self._described(), eta=None, expires=None, retries=0
            )

    def accept(self, pid: int, _accepted_at: float) -> None:
        """Note that a thread or process of the pool has begun with it."""
        self.worker_pid = pid
        self.time_start = time.monotonic()
        state.task_accepted(self)
        if self._sends_events():
            self.consumer.loop_calls.call(partial(self._send_event, "task-started"))

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
        self.consumer.prefetch.note_standstill()
        self._requeue()

    def _finish(self, outcome: Outcome) -> None:
        state.task_ready(self)
        if outcome.is_settled:
            self.acknowledged = True
            self.consumer.acks.done(self.message)
        else:
            self._requeue_later()
        self.consumer.prefetch.note(self.seconds)
        if not self._sends_events():
            return
        if outcome.error:
            self._send_event("task-failed", exception=outcome.error, traceback=outcome.traceback)
        else:
            self._send_event("task-succeeded", result="", runtime=self.seconds)

    def _requeue(self) -> None:
        try:
            self.consumer.acks.requeue(self.message)
        except self.consumer.connection_errors as exc:
            # Where the connection is lost the broker has it back by itself, and this timer goes.
            logger.warning("%s %s is given back later: %s", self.name, self.id, exc)
            self._requeue_later()

    def _requeue_later(self) -> None:
        self.consumer.timer.call_after(
            REDELIVER_AFTER_SECONDS, self.consumer.loop_calls.call, (self._requeue,)
        )

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

    def _described(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "args": self.summary,
            "kwargs": "{}",
            "root_id": self.envelope.correlation_id,
            "parent_id": self.envelope.causation_id,
        }

    def _sends_events(self) -> bool:
        dispatcher = self.consumer.event_dispatcher
        if not dispatcher or not dispatcher.enabled:
            return False
        # Without -E it is on, for the events of workers alone.
        if dispatcher.groups and "task" not in dispatcher.groups:
            return False
        # Heartbeats and sweeps, one a second, would be all that monitors show.
        return self.name not in PERISHABLE

    def _send_event(self, kind: str, **fields: Any) -> None:
        # What monitors know it by. A broadcast has one id and as many deliveries as subscribers,
        # which would be one row in Flower.
        uuid = self.id
        if self.envelope.kind is MessageKind.EVENT:
            uuid = f"{uuid}.{self.consumer.app.communicator.name}"
        self.consumer.event_dispatcher.send(kind, uuid=uuid, **fields)
