"""The same thing done by several threads at one time, each with a connection of its own."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection


def at_once(act: Callable[[], Any], times: int = 4) -> list[Any]:
    """Return what each of so many threads came to that began together; none may fail."""
    start, found, failed = threading.Barrier(times), list[Any](), list[Exception]()

    def run() -> None:
        start.wait()
        try:
            found.append(act())
        except Exception as exc:
            failed.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    return found
