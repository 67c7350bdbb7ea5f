"""Database work for callers on an event loop's thread, where Django forbids it."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from django.db import connections


def on_event_loop() -> bool:
    """Return whether Django forbids database work on this thread just now."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def off_the_event_loop(work: Callable[[], Any]) -> None:
    """Run database work here, or on a short-lived thread where Django forbids it here."""
    if not on_event_loop():
        work()
        return
    failure: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:
            failure.append(exc)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name="messaging-outbox")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
