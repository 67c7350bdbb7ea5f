"""Database work on threads: of an event loop, where Django forbids it, and of our own."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from django.db import connection, connections

from messaging.forking import no_fork_meanwhile, without_fork


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
            with no_fork_meanwhile():
                connections.close_all()

    thread = threading.Thread(target=run, name="messaging-outbox")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


@without_fork
def close_database() -> None:
    """Close this thread's connection; the next use opens another one."""
    connection.close()
