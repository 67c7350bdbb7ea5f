"""The reply queue of one process, and who waits for what."""

import logging
import threading
import uuid
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from kombu import Connection, Consumer
from kombu.exceptions import OperationalError
from kombu.message import Message

from messaging.codec import decode
from messaging.envelope import Envelope
from messaging.errors import BrokerError, BrokerUnavailable, DecodeError
from messaging.forking import after_fork

if TYPE_CHECKING:
    from messaging.bus import MessageBus

logger = logging.getLogger(__name__)

#: How long the thread waits for a message before it looks whether it shall stop.
TICK_SECONDS: Final = 0.2
#: Pause before the next try when the broker is away.
RECONNECT_SECONDS: Final = 0.5


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
        self._waiting: dict[str, Future[Envelope]] = {}
        self._thread: threading.Thread | None = None
        #: Guards the two below, and tells `expect` when they change.
        self._changed = threading.Condition()
        self._is_consuming = False
        self._failures = 0
        self._stopped = threading.Event()

    def expect(self, request_id: str) -> "Future[Envelope]":
        """Return a future for the reply to a request that is about to be sent.

        On return the queue exists and is consumed. Call `forget` when nobody waits any more.

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
                raise BrokerUnavailable(f"reply queue {self.name} cannot be consumed")
        future: Future[Envelope] = Future()
        self._waiting[request_id] = future
        return future

    def forget(self, request_id: str) -> None:
        """Wait for this request no more; a reply that still comes is dropped. Idempotent."""
        self._waiting.pop(request_id, None)

    def close(self) -> None:
        """Stop consuming; the queue goes. Waits for the thread a few seconds at most."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped.set()
        if thread is not None:
            thread.join(2 * TICK_SECONDS + RECONNECT_SECONDS)

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stopped = threading.Event()
                self._thread = threading.Thread(
                    target=self._run,
                    args=(self._stopped,),
                    name=f"messaging-replies-{self._service}",
                    daemon=True,
                )
                self._thread.start()

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            connection = self._bus.connection()
            errors = (
                *connection.connection_errors,
                *connection.channel_errors,
                OperationalError,
                BrokerError,
                OSError,
            )
            try:
                self._consume(connection, stopped)
            except errors as exc:
                logger.warning("reply queue %s: connecting again after %r", self.name, exc)
                self._change(is_consuming=False, failures=1)
                stopped.wait(RECONNECT_SECONDS)
            finally:
                self._change(is_consuming=False)
                _close(connection, errors)

    def _change(self, *, is_consuming: bool, failures: int = 0) -> None:
        with self._changed:
            self._is_consuming = is_consuming
            self._failures += failures
            self._changed.notify_all()

    def _consume(self, connection: Connection, stopped: threading.Event) -> None:
        connection.ensure_connection(
            max_retries=1, interval_start=0.1, timeout=self._bus.config.broker_timeout_seconds
        )
        queue = self._bus.topology.reply_queue(self.name)
        with Consumer(connection, [queue], on_message=self._on_message, no_ack=True):
            self._change(is_consuming=True)
            while not stopped.is_set():
                try:
                    connection.drain_events(timeout=TICK_SECONDS)
                except TimeoutError:
                    continue  # nothing came; look whether to stop

    def _on_message(self, message: Message) -> None:
        try:
            reply = decode(message.body)
        except DecodeError as exc:
            # Nobody can be told: which request it answers is what cannot be read.
            logger.warning("reply queue %s: dropped what is no reply: %s", self.name, exc)
            return
        future = self._waiting.pop(reply.causation_id or "", None)
        if future is None:
            logger.info("reply to %s came too late", reply.causation_id)
        elif future.set_running_or_notify_cancel():
            future.set_result(reply)


def _close(connection: Connection, errors: tuple[Any, ...]) -> None:
    try:
        connection.close()
    except errors as exc:
        logger.debug("closing a broken connection: %r", exc)
