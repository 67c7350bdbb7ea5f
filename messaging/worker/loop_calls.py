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
        #: Called after calls that were made together.
        self.after: Callable[[], None] = lambda: None
        #: Whether the loop has been woken and has not come round yet: one wake-up is enough.
        self._is_woken = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def attach(self, hub: Any) -> None:
        """Run calls on this event loop from now on; again after every reconnect."""
        hub.add_reader(self._reader, self._on_wake)
        hub.on_tick.add(self._run_all)
        with self._lock:
            self._has_loop = True

    def detach(self) -> None:
        """Run calls in the calling threads from now on; first whatever still waits."""
        with self._lock:
            self._has_loop = False
            self._run_all()

    def call(self, function: Callable[[], None], *, wakes: bool = True) -> None:
        """Run a callable on the event loop, soon. Thread-safe; never raises.

        Args:
            function: what to run.
            wakes: whether to wake the loop; without, it runs when the loop wakes for something
                else, or for `wake`.
        """
        # In this order: who clears one of the two flags runs what is waiting after that.
        self._calls.append(function)
        if not self._has_loop:
            with self._lock:
                if not self._has_loop:
                    self._run_all()
                    return
        if wakes:
            self.wake()

    def wake(self) -> None:
        """Wake the loop if something waits for it."""
        if self._calls and self._has_loop and not self._is_woken:
            self._is_woken = True
            with suppress(BlockingIOError):  # full: the loop has plenty of wake-ups already
                os.write(self._writer, b"!")

    def _on_wake(self) -> None:
        with suppress(BlockingIOError):  # a second wake-up, which the first one answered
            os.read(self._reader, 65_536)
        self._is_woken = False
        self._run_all()

    def _run_all(self) -> None:
        if not self._calls:
            return
        while self._calls:
            self._run(self._calls.popleft())
        self._run(self.after)

    def _run(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            # One message's settlement must not keep the others from theirs: unsettled, it is
            # delivered again.
            logger.exception("a call on the event loop failed")
