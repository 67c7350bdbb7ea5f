"""One event loop per process, on a thread of its own, for `async def` handlers."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the process's handler loop and return its result; blocks meanwhile.

    The coroutine sees the calling thread's context variables.
    """
    return _run(coroutine)


@contextmanager
def running_by(run: Callable[[Coroutine[Any, Any, Any]], Any]) -> Iterator[None]:
    """Have coroutines of handlers run by another function within the block, for tests."""
    global _run
    before, _run = _run, run
    try:
        yield
    finally:
        _run = before


def _run_on_the_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, _running_loop()).result()


_run: Callable[[Coroutine[Any, Any, Any]], Any] = _run_on_the_loop


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(
                target=_loop.run_forever, name="messaging-async-handlers", daemon=True
            ).start()
        return _loop


def _forget() -> None:
    """Start anew in a forked child: the parent's loop thread does not exist there."""
    global _loop, _lock
    _lock = threading.Lock()
    _loop = None


os.register_at_fork(after_in_child=_forget)
