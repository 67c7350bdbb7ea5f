"""A thread that consumes one queue for the life of its process, and connects again for ever."""

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from kombu import Connection, Consumer, Queue
from kombu.exceptions import OperationalError
from kombu.message import Message

from messaging.errors import BrokerError

logger = logging.getLogger(__name__)

#: How long the thread waits for a message before it looks whether it shall stop.
TICK_SECONDS: Final = 0.2
#: Messages of one round.
MOST_MESSAGES: Final = 100
#: Pause before the next try when the broker is away.
RECONNECT_SECONDS: Final = 0.5


class QueueReader:
    """Hands each message of a queue to a function, on a thread of its own.

    Args:
        connect: returns a new, unopened connection.
        queue: what to consume; declared at every connect.
        on_message: called on the thread. What it raises ends the connection, not the thread.
        timeout_seconds: longest wait for a connect.
        on_round: called when nothing waits any more, at least every `MOST_MESSAGES`.
        on_state: told True when the queue is consumed, False when not any more, and the error.
        no_ack: whether messages count as handled when delivered.
        prefetch: messages delivered ahead of their acknowledgement; 0: no limit.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        queue: Queue,
        on_message: Callable[[Message], None],
        *,
        timeout_seconds: float,
        on_round: Callable[[], None] | None = None,
        on_state: Callable[[bool, BaseException | None], None] = lambda _is_on, _error: None,
        no_ack: bool = False,
        prefetch: int = 0,
    ) -> None:
        self._connect = connect
        self._queue = queue
        self._on_message = on_message
        self._timeout_seconds = timeout_seconds
        self._on_round = on_round
        self._on_state = on_state
        self._no_ack = no_ack
        self._prefetch = prefetch
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"messaging-reads-{queue.name}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop consuming. Waits for the thread a few seconds at most."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(self._timeout_seconds)

    def _run(self) -> None:
        while not self._stopped.is_set():
            connection = self._connect()
            errors = (
                *connection.connection_errors,
                *connection.channel_errors,
                OperationalError,
                BrokerError,
                OSError,
            )
            error: BaseException | None = None
            try:
                self._consume(connection)
            except errors as exc:
                logger.warning("queue %s: connecting again after %r", self._queue.name, exc)
                error = exc
            except Exception as exc:
                # A bug in what handles the messages must not end all reading for good.
                logger.exception("queue %s: connecting again", self._queue.name)
                error = exc
            finally:
                self._on_state(False, error)
                _close(connection, errors)
            if error is not None:
                self._stopped.wait(RECONNECT_SECONDS)

    def _consume(self, connection: Connection) -> None:
        connection.ensure_connection(
            max_retries=1, interval_start=0.1, timeout=self._timeout_seconds
        )
        consumer = Consumer(
            connection,
            [self._queue],
            on_message=self._on_message,
            no_ack=self._no_ack,
            prefetch_count=self._prefetch or None,
        )
        with consumer:
            self._on_state(True, None)
            while not self._stopped.is_set():
                self._drain(connection)

    def _drain(self, connection: Connection) -> None:
        try:
            connection.drain_events(timeout=TICK_SECONDS)
            if self._on_round is not None:
                for _ in range(MOST_MESSAGES - 1):
                    connection.drain_events(timeout=0)
        except TimeoutError:
            pass  # nothing more waits: look whether to stop
        if self._on_round is not None:
            self._on_round()


def _close(connection: Connection, errors: tuple[Any, ...]) -> None:
    try:
        connection.close()
    except errors as exc:
        logger.debug("closing a broken connection: %r", exc)
