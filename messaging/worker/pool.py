"""The threads that run handlers, woken as sparingly as they can be.

Python runs one thread at a time, and each change of thread costs more than a short handler does.
So the event loop hands over what it has read in one go; one thread takes message after message as
long as they are short, and tells the loop of them together. Others join it as soon as a message
would have to wait for one that is not.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from celery.concurrency.base import BasePool, apply_target

from messaging.clock import SYSTEM_CLOCK
from messaging.worker.loop_calls import LoopCalls
from messaging.worker.prefetch import HELD_SECONDS

logger = logging.getLogger(__name__)

#: A message waits so long for a thread that is at work before another one is woken.
PATIENCE_SECONDS: Final = 0.001
#: How often to look at what waits while all threads are at work.
FULL_SECONDS: Final = 0.1

_monotonic = SYSTEM_CLOCK.monotonic


class Job(NamedTuple):
    """Something to do on one of the threads."""

    #: Returns what is to be called on the event loop then, if anything.
    run: Callable[[], Callable[[], None] | None]
    #: Called on the event loop instead, if the job has waited too long to begin.
    give_back: Callable[[], None]
    #: What it is about, for `ThreadPool.running`.
    subject: Any
    queued_at: float


class ThreadPool(BasePool):
    """Celery's interface to a pool, for the setting ``worker_pool`` = ``threads``.

    Jobs begin in the order given. At most ``limit`` run at the same time.
    """

    body_can_be_buffer = True
    signal_safe = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Where jobs have the loop called; set by the consumer.
        self.loop_calls = LoopCalls()
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        #: What idle threads sleep on; the last to fall asleep is woken first.
        self._idle: list[threading.Lock] = []
        self._threads: list[threading.Thread] = []
        #: What each thread has in hand and when it began with it; None: nothing.
        self._running: list[tuple[float, Any] | None] = []
        self._awake = 0
        self._is_stopped = False
        #: When a thread last took a job.
        self._taken_at = 0.0
        self._hub: Any = None
        self._is_watched = False

    def register_with_event_loop(self, loop: Any) -> None:
        """Have what one turn of the worker's event loop brings handed over at its end."""
        self._hub = loop
        self._is_watched = False
        loop.on_tick.add(self._on_tick)

    def leave_event_loop(self) -> None:
        """Drop what has not begun; hand over each job when it comes, from now on."""
        if self._hub is not None:
            self._hub.on_tick.discard(self._on_tick)
            self._hub = None
        self.flush()

    def flush(self) -> None:
        """Drop what has not begun: its messages are not settled, and the broker has them."""
        self._jobs.clear()

    def submit(
        self, run: Callable[[], Any], give_back: Callable[[], None], subject: Any = None
    ) -> None:
        """Have a thread call ``run``; the event loop ``give_back``, if none is free for long."""
        self._jobs.append(Job(run, give_back, subject, _monotonic()))
        if self._hub is None:
            self._wake_one()
        elif (self._awake or len(self._jobs) > 1) and not self._is_watched:
            # Whoever is at work may turn out to be slow.
            self._watch()

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> None:
        """Have a thread call the target, and then the callback with what it returned."""
        run = partial(apply_target, target, args, kwargs, callback, accept_callback)
        self.submit(run, partial(self.on_apply, target, args, kwargs, callback, accept_callback))

    def on_stop(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self.flush()
        with self._lock:
            self._is_stopped = True
            for sleeper in self._idle:
                sleeper.release()
            self._idle.clear()
        for thread in self._threads:
            thread.join()

    def on_terminate(self) -> None:
        """Threads cannot be stopped: the process ends without them."""
        self.flush()
        self._is_stopped = True

    def running(self) -> list[tuple[float, Any]]:
        """Return when each job that runs now began, by the monotonic clock, and its subject."""
        return [each for each in tuple(self._running) if each is not None]

    def _on_tick(self) -> None:
        """Have somebody begin with what this turn of the loop has brought."""
        if self._jobs and not self._awake:
            self._wake_one()

    def _watch(self) -> None:
        # Not from `_on_tick`: the loop has worked out by then how long it sleeps.
        self._is_watched = True
        is_full = self._awake == self.limit
        self._hub.call_later(FULL_SECONDS if is_full else PATIENCE_SECONDS, self._look)

    def _look(self) -> None:
        """See to it that what waits is begun soon, here or elsewhere."""
        self._is_watched = False
        if self._jobs and _monotonic() - self._taken_at > PATIENCE_SECONDS:
            self._wake_one()
        self._give_back()
        if self._jobs and self._hub is not None:
            self._watch()

    def _give_back(self) -> None:
        """Part with all that waits, if the oldest has waited too long: order is kept that way."""
        if not self._jobs or self._jobs[0].queued_at > _monotonic() - HELD_SECONDS:
            return
        waiting = []
        while self._jobs:
            try:
                waiting.append(self._jobs.popleft())
            except IndexError:
                break  # a thread has taken the last one
        for job in waiting:
            self.loop_calls.call(job.give_back)  # one that fails must not keep the others here

    def _wake_one(self) -> None:
        with self._lock:
            if self._idle:
                self._awake += 1
                self._idle.pop().release()
            elif len(self._threads) < self.limit:
                number = len(self._threads)
                self._running.append(None)
                thread = threading.Thread(
                    target=self._run,
                    args=(number,),
                    name=f"messaging-handler-{number}",
                    daemon=True,
                )
                thread.start()
                self._threads.append(thread)
                self._awake += 1

    def _run(self, number: int) -> None:
        jobs, sleeper = self._jobs, threading.Lock()
        sleeper.acquire()
        while not self._is_stopped:
            try:
                job = jobs.popleft()
            except IndexError:
                if self._rest(sleeper):
                    sleeper.acquire()
                continue
            self._taken_at = began = _monotonic()
            self._running[number] = began, job.subject
            then = None
            try:
                then = job.run()
            except BaseException:
                # A thread that ends is one less for good.
                logger.exception("a job failed on its handler's thread")
            self._running[number] = None
            if then is not None:
                is_short = _monotonic() - began < PATIENCE_SECONDS
                # The next job's end comes soon, and can be told together with this one's.
                self.loop_calls.call(then, wakes=not (jobs and is_short))

    def _rest(self, sleeper: threading.Lock) -> bool:
        """Join the idle threads; return False if there is work after all."""
        with self._lock:
            if self._jobs or self._is_stopped:
                return False
            self._awake -= 1
            self._idle.append(sleeper)
        # Another thread may have taken the job whose end should have told of this one's.
        self.loop_calls.wake()
        return True

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),
            "max-concurrency": self.limit,
            "threads": len(self._threads),
        }
