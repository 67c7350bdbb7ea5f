"""Calls from pool threads to the worker's event loop, which they wake."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

logger = logging.getLogger(__name__)


class LoopCalls:
    """Runs callables where the broker connection lives.

    A broker connection belongs to the event loop's thread, so that is where messages are
    acknowledged. Celery's own way, ``hub.call_soon``, does not wake a loop that sleeps in poll:
    with a full prefetch window an acknowledgement then waits for the next timer, up to a second.
    While no loop runs (synchronous loop, or a warm shutdown that waits for handlers) calls run at
    once in the calling thread, one at a time.
    """

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._lock = threading.RLock()
        self._has_loop = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def attach(self, hub: Any) -> None:
        """Run calls on this event loop from now on; again after every reconnect."""
        hub.add_reader(self._reader, self._run_all)
        with self._lock:
            self._has_loop = True

    def detach(self) -> None:
        """Run calls in the calling threads from now on; first whatever still waits."""
        with self._lock:
            self._has_loop = False
            self._run_all()

    def call(self, function: Callable[[], None]) -> None:
        """Run a callable on the event loop, soon. Thread-safe; never raises."""
        with self._lock:
            self._calls.append(function)
            if not self._has_loop:
                self._run_all()
                return
        with suppress(BlockingIOError):  # full: the loop has plenty of wake-ups already
            os.write(self._writer, b"!")

    def _run_all(self) -> None:
        with suppress(BlockingIOError):  # nothing written: called without a wake-up
            os.read(self._reader, 65_536)
        while self._calls:
            function = self._calls.popleft()
            try:
                function()
            except Exception:
                # One message's settlement must not keep the others from theirs: unsettled, it
                # is delivered again.
                logger.exception("a call on the event loop failed")
