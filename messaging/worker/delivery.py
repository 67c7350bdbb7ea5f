"""One delivery in a worker: what Celery's bookkeeping, events and remote control see of it."""

import logging
import time
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
        self._consumer = consumer
        #: What monitors know it by. A broadcast has one id and as many deliveries as subscribers,
        #: which would be one row in Flower.
        self._event_id = self.id
        if envelope.kind is MessageKind.EVENT:
            self._event_id = f"{self.id}.{consumer.app.communicator.name}"

    def reserve(self) -> None:
        """Put it on Celery's list of what this worker holds."""
        state.task_reserved(self)
        self._send_event("task-received", **self._described(), eta=None, expires=None, retries=0)

    def accept(self, pid: int, _accepted_at: float) -> None:
        """Note that a thread or process of the pool has begun with it."""
        self.worker_pid = pid
        self.time_start = time.monotonic()
        state.task_accepted(self)
        if self._sends_events():
            self._consumer.loop_calls.call(lambda: self._send_event("task-started"))

    def finish(self, outcome: Outcome) -> None:
        """Settle it with the broker. Called where the connection lives."""
        state.task_ready(self, successful=outcome.is_settled and not outcome.error)
        if outcome.is_settled:
            self.acknowledged = True
            self.message.ack_log_error(logger, self._consumer.connection_errors)
        else:
            self._consumer.timer.call_after(
                REDELIVER_AFTER_SECONDS, self._consumer.loop_calls.call, (self._give_back,)
            )
        if outcome.error:
            self._send_event("task-failed", exception=outcome.error, traceback=outcome.traceback)
        else:
            self._send_event("task-succeeded", result="", runtime=self._runtime())

    def _give_back(self) -> None:
        self.message.reject_log_error(logger, self._consumer.connection_errors, requeue=True)

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
            "hostname": self._consumer.hostname,
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

    def _runtime(self) -> float:
        return 0.0 if self.time_start is None else time.monotonic() - self.time_start

    def _sends_events(self) -> bool:
        dispatcher = self._consumer.event_dispatcher
        # Heartbeats and sweeps, one a second, would be all that monitors show.
        return bool(dispatcher and dispatcher.enabled) and self.name not in PERISHABLE

    def _send_event(self, kind: str, **fields: Any) -> None:
        if self._sends_events():
            self._consumer.event_dispatcher.send(kind, uuid=self._event_id, **fields)
