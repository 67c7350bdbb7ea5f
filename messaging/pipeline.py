"""Publishing without a wait for each confirm, where confirms come from another machine.

What the broker refuses, has no queue for, or has not confirmed when the connection breaks is
handed to whoever keeps messages for later: the outbox.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any, Final, NamedTuple

from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import Envelope
from messaging.errors import BrokerUnavailable, PublishError
from messaging.forking import after_fork
from messaging.late_confirms import LateConfirms
from messaging.publisher import Addressed, Publisher

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


class _Item(NamedTuple):
    envelope: Envelope
    lost: Callable[[PublishError], None] | None


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
        _inherited.append(self._sent)
        self._begin()

    def _begin(self) -> None:
        #: Held while the connection is used.
        self._lock = threading.Lock()
        #: What is on its way. Messages that failed stay in it until they are kept.
        self._sent: LateConfirms[_Item] = LateConfirms(self._open_publisher, self._timeout_seconds)
        #: Told when nothing is open and nothing failed.
        self._is_quiet = threading.Condition()
        self._sent_at = 0.0
        #: Whether somebody waits to be told of a message that is lost.
        self._is_awaited = False
        self._starting = threading.Lock()
        self._has_sent = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(
        self,
        envelope: Envelope,
        addressed: Addressed,
        lost: Callable[[PublishError], None] | None = None,
    ) -> None:
        """Send a message; on return it is on its way, and this process sees to the rest.

        A command whose queue is gone goes to the outbox, whose relay makes the queue anew.

        Args:
            envelope: the message.
            addressed: what goes over the wire.
            lost: told, soon and on another thread, that it may not have arrived, instead of
                keeping it.

        Raises:
            PublishError: the broker refused it. NOT sent.
            BrokerUnavailable: NOT sent; safe to send again.
            PublishUncertain: maybe sent.
        """
        if not self._lock.acquire(timeout=self._timeout_seconds):
            raise BrokerUnavailable("other threads wait for the broker")
        try:
            if len(self._sent) >= WINDOW:
                self._sent.wait(WINDOW // 2)
            self._sent_at = SYSTEM_CLOCK.monotonic()
            self._sent.publish(_Item(envelope, lost), addressed)
            self._is_awaited = self._is_awaited or lost is not None
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
            return self._is_quiet.wait_for(lambda: not self._is_busy, timeout_seconds)

    def close(self) -> None:
        """Close the connection, after what is on its way; the next publish opens it anew."""
        self.flush(self._timeout_seconds)
        with self._lock:
            self._sent.close()
        self._has_sent.set()  # for what failed just now

    @property
    def _is_busy(self) -> bool:
        return bool(len(self._sent) or self._sent.failed)

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
            while self._is_busy:
                rested = SYSTEM_CLOCK.monotonic() - self._sent_at
                is_pressing = self._is_awaited or self._sent.failed
                if rested < READ_AFTER_SECONDS and not is_pressing:
                    # Who sends on and on reads by itself, many confirms at a time.
                    SYSTEM_CLOCK.sleep(READ_AFTER_SECONDS)
                else:
                    self._read_some()
                    self._keep_failed()
                    self._tell_confirmed()
            self._is_awaited = bool(len(self._sent))  # sent since
            with self._is_quiet:
                self._is_quiet.notify_all()

    def _read_some(self) -> None:
        """Read a confirm, if one comes."""
        with self._lock:
            try:
                self._sent.read(_SLICE_SECONDS)
            except Exception:
                # Whatever it is: without this thread nothing unconfirmed would ever be kept.
                logger.exception("confirms could not be read; the connection is given up")

    def _keep_failed(self) -> None:
        """Try once to keep each message that failed."""
        is_all_kept = True
        failed = self._sent.failed
        for _ in range(len(failed)):
            (envelope, lost), error = failed[0]
            try:
                if lost is None:
                    self._keep(envelope, str(error))
                else:
                    lost(error)
            except Exception:
                # Neither broker nor database: held here until one of them is back.
                logger.exception("%s %s is in memory only", envelope.type, envelope.id)
                failed.rotate(-1)
                is_all_kept = False
            else:
                failed.popleft()
        if not is_all_kept:
            SYSTEM_CLOCK.sleep(_KEEP_AGAIN_SECONDS)

    def _tell_confirmed(self) -> None:
        # Not under the lock: who is told may send.
        confirmed: deque[_Item] = self._sent.confirmed
        while confirmed:
            try:
                envelope, _ = confirmed.popleft()
            except IndexError:
                return  # another thread has told of the last one
            self._confirmed(envelope)
