"""Celery's task events, which Flower and other monitors read, at a fifth of their cost.

Celery makes a dictionary of each event and has JSON made of it; three of them cost most of what a
short handler does. Here each is a line of text from the beginning, and all that happen within
`FLUSH_SECONDS` travel in one message, which is what Celery's receivers know as ``task.multi``.
Source: https://docs.celeryq.dev/en/stable/userguide/monitoring.html#event-reference
"""

import logging
from collections import deque
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Final

from celery.utils.time import utcoffset

from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import Envelope, MessageKind
from messaging.outcome import Outcome
from messaging.registration import PERISHABLE
from messaging.worker.loop_calls import LoopCalls

if TYPE_CHECKING:
    from messaging.worker.delivery import Delivery

logger = logging.getLogger(__name__)

#: Monitors see an event no later than this.
FLUSH_SECONDS: Final = 0.1
#: Events of one message.
MOST: Final = 250

_now = SYSTEM_CLOCK.now


class TaskEvents:
    """Tells monitors of the deliveries of one worker, as long as they are listened to.

    Any thread may tell; they are sent where the connection lives.

    Args:
        dispatcher: Celery's, for its connection and for whether events are wanted.
        service: whose worker it is.
        hub: the worker's event loop; None: each event is sent at once.
        loop_calls: makes calls on it.
    """

    def __init__(self, dispatcher: Any, service: str, hub: Any, loop_calls: LoopCalls) -> None:
        self._dispatcher = dispatcher
        self._service = service
        self._hub = hub
        self._loop_calls = loop_calls
        self._lines: deque[str] = deque()
        self._is_due = False
        self._refresh()

    def is_wanted(self, envelope: Envelope) -> bool:
        """Return whether somebody asked for events of such messages."""
        dispatcher = self._dispatcher
        if not dispatcher or not dispatcher.enabled:
            return False
        # Without -E it is on, for the events of workers alone.
        if dispatcher.groups and "task" not in dispatcher.groups:
            return False
        # Heartbeats and sweeps, one a second, would be all that monitors show.
        return envelope.type not in PERISHABLE

    def received(self, delivery: "Delivery") -> None:
        """Tell what has come, without what it says."""
        envelope = delivery.envelope
        cause = "null" if envelope.causation_id is None else quoted(envelope.causation_id)
        self._tell(
            "task-received",
            envelope,
            f'"name":{quoted(delivery.name)},"args":{quoted(delivery.summary)},"kwargs":"{{}}",'
            f'"root_id":{quoted(envelope.correlation_id)},"parent_id":{cause},'
            '"eta":null,"expires":null,"retries":0',
        )

    def started(self, delivery: "Delivery") -> None:
        """Tell that a handler has begun."""
        self._tell("task-started", delivery.envelope, '"retries":0')

    def ended(self, delivery: "Delivery", outcome: Outcome) -> None:
        """Tell how it ended."""
        if outcome.error:
            self._tell(
                "task-failed",
                delivery.envelope,
                f'"exception":{quoted(outcome.error)},"traceback":{quoted(outcome.traceback)}',
            )
        else:
            self._tell(
                "task-succeeded", delivery.envelope, f'"result":"","runtime":{delivery.seconds!r}'
            )

    def flush(self) -> None:
        """Send what was told. Never raises: what monitors miss is no message."""
        self._is_due = False
        while self._lines:
            lines: list[str] = []
            try:
                while len(lines) < MOST:
                    lines.append(self._lines.popleft())
            except IndexError:
                pass  # all of them; another thread may have taken the last one
            try:
                self._send(f"[{','.join(lines)}]")
            except Exception as exc:
                # Of any kind: connections of all brokers break in their own ways.
                logger.warning("%d task events were not sent: %r", len(lines), exc)
        self._refresh()

    def leave_event_loop(self) -> None:
        """Send what was told, and from now on each event at once."""
        self._hub = None
        self.flush()

    def _tell(self, kind: str, envelope: Envelope, fields: str) -> None:
        # What monitors know it by. A broadcast has one id and as many deliveries as subscribers,
        # which would be one row in Flower.
        uuid = envelope.id
        if envelope.kind is MessageKind.EVENT:
            uuid = f"{uuid}.{self._service}"
        clock = self._dispatcher.clock.forward()
        self._lines.append(
            f'{{"type":"{kind}","uuid":{quoted(uuid)},{fields},'
            f'"clock":{clock},"timestamp":{_now()!r},{self._origin}}}'
        )
        if not self._is_due:
            self._is_due = True
            self._loop_calls.call(self._schedule)
        elif len(self._lines) == MOST:
            self._loop_calls.call(self.flush)

    def _schedule(self) -> None:
        if self._hub is None:
            self.flush()
        else:
            self._hub.call_later(FLUSH_SECONDS, self.flush)

    def _send(self, text: str) -> None:
        dispatcher = self._dispatcher
        with dispatcher.mutex:
            if not dispatcher.enabled or dispatcher.producer is None:
                return  # nobody wants them any more
            dispatcher.producer.publish(
                text,
                routing_key="task.multi",
                exchange=dispatcher.exchange.name,
                declare=[dispatcher.exchange],
                content_type="application/json",
                content_encoding="utf-8",
                headers=dispatcher.headers,
                delivery_mode=dispatcher.delivery_mode,
            )

    def _refresh(self) -> None:
        if self._dispatcher:
            self._origin = (
                f'"hostname":{quoted(self._dispatcher.hostname)},'
                f'"pid":{self._dispatcher.pid},"utcoffset":{utcoffset()}'
            )
