"""The reply queue of one process, and who waits for what."""

import logging
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from kombu.message import Message

from messaging.codec import decode
from messaging.envelope import Envelope
from messaging.errors import BrokerUnavailable, DecodeError
from messaging.forking import after_fork
from messaging.queue_reader import QueueReader
from messaging.refusal import refusal

if TYPE_CHECKING:
    from messaging.bus import MessageBus

#: A reply, or why there can be none.
Outcome = Envelope | Exception

logger = logging.getLogger(__name__)


class ReplyQueue:
    """Consumes this process's own reply queue on one thread, started by the first request.

    Thread-safe. A forked child starts its own. When the connection breaks the same queue is
    declared again; requests are never repeated: whoever waits, waits to the end of its timeout.
    """

    def __init__(self, bus: "MessageBus", service: str) -> None:
        self._bus = bus
        self._service = service
        self._reset()
        self._fork_token = after_fork(self._reset)

    def _reset(self) -> None:
        token = uuid.uuid4().hex
        self.name = self._bus.topology.reply_queue_name(self._service, token)
        self._lock = threading.Lock()
        #: By the request's id: who was asked, and whom to tell.
        self._waiting: dict[str, tuple[str, Callable[[Outcome], None]]] = {}
        self._reader: QueueReader | None = None
        #: Guards what is below, and tells `open` when they change.
        self._changed = threading.Condition()
        self._is_consuming = False
        self._failures = 0
        self._last_error: BaseException | None = None

    def expect(self, request: Envelope, tell: Callable[[Outcome], None]) -> None:
        """Have the reply to a request that is about to be sent told, or why none can come.

        Args:
            request: nobody but its target answers it. Call `forget` when nobody waits any more.
            tell: called once, on any thread; must not block.
        """
        self._waiting[request.id] = request.target, tell

    def open(self) -> None:
        """Have the queue exist and be consumed. Idempotent; blocks.

        Raises:
            BrokerUnavailable: the queue could not be consumed in time. Nothing was sent.
        """
        self._start()
        with self._changed:
            before = self._failures
            self._changed.wait_for(
                lambda: self._is_consuming or self._failures > before,
                self._bus.config.broker_timeout_seconds,
            )
            if not self._is_consuming:
                error = self._last_error
                why = refusal(error) or error or "the broker does not answer"
                raise BrokerUnavailable(
                    f"reply queue {self.name} cannot be consumed: {why}"
                ) from error

    def is_expected(self, request_id: str) -> bool:
        """Return whether anybody still waits for the reply to this request."""
        return request_id in self._waiting

    def forget(self, request_id: str) -> None:
        """Wait for this request no more; a reply that still comes is dropped. Idempotent."""
        self._waiting.pop(request_id, None)

    def fail(self, request_id: str, error: Exception) -> None:
        """End the wait for a reply that cannot come. Nobody waits: nothing happens."""
        waiting = self._waiting.pop(request_id, None)
        if waiting is not None:
            _, tell = waiting
            tell(error)

    def close(self) -> None:
        """Stop consuming; the queue goes. Waits for the thread a few seconds at most."""
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()

    def _start(self) -> None:
        if self._reader is not None and self._reader.is_alive:
            return
        with self._lock:
            if self._reader is None or not self._reader.is_alive:
                self._reader = QueueReader(
                    self._bus.connection,
                    self._bus.topology.reply_queue(self.name),
                    self._on_message,
                    timeout_seconds=self._bus.config.broker_timeout_seconds,
                    on_state=self._on_state,
                    no_ack=True,
                )
                self._reader.start()

    def _on_state(self, is_consuming: bool, error: BaseException | None) -> None:
        with self._changed:
            self._is_consuming = is_consuming
            self._failures += error is not None
            self._last_error = error or self._last_error
            self._changed.notify_all()

    def _on_message(self, message: Message) -> None:
        try:
            reply = decode(message.body, self._bus.keyring)
        except DecodeError as exc:
            # Nobody can be told: which request it answers is what cannot be read.
            logger.warning("reply queue %s: dropped what is no reply: %s", self.name, exc)
            return
        request_id = reply.causation_id or ""
        asked, tell = self._waiting.get(request_id, ("", None))
        if tell is None:
            logger.info("reply to %s came too late", request_id)
        elif reply.source != asked:
            # Whoever was asked may still answer.
            logger.warning(
                "reply to %s dropped: %s was asked, not %s", request_id, asked, reply.source
            )
        elif self._waiting.pop(request_id, None) is not None:
            tell(reply)
