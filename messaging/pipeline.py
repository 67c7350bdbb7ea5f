"""Publishing without a wait for each confirm, where confirms come from another machine.

A confirm of RabbitMQ takes a round trip, ten times what it takes to send. So a message is written
to the connection and kept here until its confirm has come, read together with others. What the
broker refuses, has no queue for, or has not confirmed when the connection breaks is handed to
whoever keeps messages for later: the outbox.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any, Final

from kombu import Exchange, Queue

from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import Envelope
from messaging.errors import BrokerUnavailable, PublishError
from messaging.forking import after_fork
from messaging.publisher import Publisher
from messaging.wire import WireMessage

logger = logging.getLogger(__name__)

#: Messages that may be unconfirmed at one time; then the sender waits for half of them.
WINDOW: Final = 500
#: Confirms are read this long after a message that no other follows.
READ_AFTER_SECONDS: Final = 0.005
#: Longest hold of the connection while nothing comes, so that senders get their turn.
_SLICE_SECONDS: Final = 0.002
#: Pause before what could not be kept is tried again.
_KEEP_AGAIN_SECONDS: Final = 1.0

#: Pipelines' connections that a fork copied: never closed, never collected.
_inherited: list[object] = []


class Pipeline:
    """One connection for all threads of the process. Thread-safe; a forked child has its own.

    Args:
        open_publisher: makes the publisher; it is handed a function to call with each new channel.
        keep: stores a message that may not have arrived, with the reason. Raises PublishError if
            that fails; it is tried again then.
        confirmed: told of each message that the broker has confirmed.
        timeout_seconds: a broker that confirms nothing for so long is taken to be away.
    """

    def __init__(
        self,
        open_publisher: Callable[[Callable[[Any], None]], Publisher],
        keep: Callable[[Envelope, str], None],
        confirmed: Callable[[Envelope], None],
        timeout_seconds: float,
    ) -> None:
        self._open_publisher = open_publisher
        self._keep = keep
        self._confirmed = confirmed
        self._timeout_seconds = timeout_seconds
        self._begin()
        self._fork_token = after_fork(self._begin_anew)

    def _begin_anew(self) -> None:
        _inherited.append(self._publisher)
        self._begin()

    def _begin(self) -> None:
        #: Held while the connection is used.
        self._lock = threading.Lock()
        self._publisher = self._open_publisher(self._adopt)
        #: Tag of the last message on this channel.
        self._tag = 0
        #: Sent and not confirmed, by tag.
        self._open: dict[int, Envelope] = {}
        #: Ids of what came back because no queue took it; the confirm follows.
        self._returned: set[str] = set()
        #: What has to be kept, and why; in here until it is.
        self._failed: deque[tuple[Envelope, str]] = deque()
        #: Told when nothing is open and nothing failed.
        self._is_quiet = threading.Condition()
        #: Confirmed, and nobody told of it yet.
        self._told: deque[Envelope] = deque()
        self._sent_at = self._heard_at = 0.0
        self._starting = threading.Lock()
        self._has_sent = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(
        self,
        envelope: Envelope,
        message: WireMessage,
        exchange: str,
        routing_key: str,
        *,
        declare: Queue | Exchange,
        mandatory: bool,
    ) -> None:
        """Send a message; on return it is on its way, and this process sees to the rest.

        A command whose queue is gone goes to the outbox, whose relay makes the queue anew.

        Raises:
            PublishError: the broker refused it. NOT sent.
            BrokerUnavailable: NOT sent; safe to send again.
            PublishUncertain: maybe sent.
        """
        if not self._lock.acquire(timeout=self._timeout_seconds):
            raise BrokerUnavailable("other threads wait for the broker")
        try:
            if len(self._open) >= WINDOW:
                self._read_until(WINDOW // 2)
            self._sent_at = SYSTEM_CLOCK.monotonic()
            if not self._open:
                self._heard_at = self._sent_at
            self._publisher.publish(
                message, exchange, routing_key, declare=declare, mandatory=mandatory
            )
            self._tag += 1
            self._open[self._tag] = envelope
        except BaseException:
            # An interrupt, too: nobody knows any more which confirm is for which message.
            self._drop("sending another message failed")
            raise
        finally:
            self._lock.release()
            self._tell_confirmed()
            if not self._has_sent.is_set():
                self._start()
                self._has_sent.set()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all is confirmed or kept; False: not in time."""
        self._sent_at = 0.0  # read at once
        with self._is_quiet:
            return self._is_quiet.wait_for(
                lambda: not self._open and not self._failed, timeout_seconds
            )

    def close(self) -> None:
        """Close the connection, after what is on its way; the next publish opens it anew."""
        self.flush(self._timeout_seconds)
        with self._lock:
            self._drop("the connection was closed")
        self._has_sent.set()  # for what failed just now

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            # Threads of a process that ends are stopped wherever they are. Not by `atexit`, which
            # children of `multiprocessing` end without.
            Finalize(None, self.flush, (self._timeout_seconds,), exitpriority=10)
            thread = threading.Thread(target=self._run, name="messaging-confirms", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while True:
            self._has_sent.wait()
            SYSTEM_CLOCK.sleep(READ_AFTER_SECONDS)
            self._has_sent.clear()
            while self._open or self._failed:
                rested = SYSTEM_CLOCK.monotonic() - self._sent_at
                if rested < READ_AFTER_SECONDS and not self._failed:
                    # Who sends on and on reads by itself, many confirms at a time.
                    SYSTEM_CLOCK.sleep(READ_AFTER_SECONDS)
                else:
                    self._read_some()
                    self._keep_failed()
                    self._tell_confirmed()
            with self._is_quiet:
                self._is_quiet.notify_all()

    def _read_some(self) -> None:
        """Read a confirm, if one comes; give the connection up if none has come for long."""
        with self._lock:
            try:
                if self._open and not self._read(_SLICE_SECONDS):
                    silent = SYSTEM_CLOCK.monotonic() - self._heard_at
                    if silent > self._timeout_seconds:
                        self._drop(f"the broker confirmed nothing for {silent:.1f} s")
            except PublishError as exc:
                self._drop(str(exc))
            except Exception:
                # Whatever it is: without this thread nothing unconfirmed would ever be kept.
                logger.exception("confirms could not be read; the connection is given up")
                self._drop("reading confirms failed")

    def _keep_failed(self) -> None:
        """Try once to keep each message that failed."""
        is_all_kept = True
        for _ in range(len(self._failed)):
            envelope, reason = self._failed[0]
            try:
                self._keep(envelope, reason)
            except Exception:
                # Neither broker nor database: held here until one of them is back.
                logger.exception("%s %s is in memory only", envelope.type, envelope.id)
                self._failed.rotate(-1)
                is_all_kept = False
            else:
                self._failed.popleft()
        if not is_all_kept:
            SYSTEM_CLOCK.sleep(_KEEP_AGAIN_SECONDS)

    def _tell_confirmed(self) -> None:
        # Not under the lock: who is told may send.
        while self._told:
            try:
                envelope = self._told.popleft()
            except IndexError:
                return  # another thread has told of the last one
            self._confirmed(envelope)

    def _read_until(self, most_open: int) -> None:
        """Read confirms until few enough are missing, or the connection is. The lock is held."""
        try:
            while len(self._open) > most_open:
                if not self._read(self._timeout_seconds):
                    self._drop("the broker has stopped to confirm")
        except PublishError as exc:
            self._drop(str(exc))

    def _read(self, seconds: float) -> bool:
        """Read what the broker says; return whether it said something in time."""
        return self._publisher.read(seconds)

    def _adopt(self, channel: Any) -> None:
        """Have a new channel confirm; what the one before has not confirmed may be lost."""
        self._break("the connection broke before the broker confirmed")
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    def _drop(self, reason: str) -> None:
        """Give the connection up, with what it has not confirmed. The lock is held."""
        try:
            self._publisher.close()
        except Exception:
            logger.exception("a broken connection could not be closed")
        self._break(reason)

    def _break(self, reason: str) -> None:
        self._failed += [(envelope, reason) for envelope in self._open.values()]
        self._open.clear()
        self._returned.clear()
        self._tag = 0

    def _take(self, tag: int, multiple: bool) -> list[Envelope]:
        # Here, and not where the connection is read: publishing reads it as well.
        self._heard_at = SYSTEM_CLOCK.monotonic()
        taken = []
        if multiple:
            while self._open and (first := next(iter(self._open))) < tag:
                taken.append(self._open.pop(first))
        if tag in self._open:
            taken.append(self._open.pop(tag))
        return taken

    def _on_ack(self, tag: int, multiple: bool) -> None:
        for envelope in self._take(tag, multiple):
            if envelope.id in self._returned:
                self._returned.discard(envelope.id)
                self._failed.append((envelope, "no queue took it"))
            else:
                self._told.append(envelope)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._failed += [(each, "the broker refused it") for each in self._take(tag, multiple)]

    def _on_return(self, _error: Exception, _exchange: str, _key: str, message: Any) -> None:
        self._returned.add(message.headers.get("id", ""))
        self._publisher.forget_declared()
