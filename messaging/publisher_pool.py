"""The publishers of one process, lent to one thread at a time."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, Protocol, TypeVar

from messaging.errors import BrokerUnavailable
from messaging.forking import after_fork

#: More threads than this wait for each other; a broker counts connections.
POOL_SIZE: Final = 16

#: Publishers that a fork copied. Closing or collecting them would say goodbye on the parent's
#: socket, so they are kept, unused, for the life of the child.
_inherited: list[object] = []


class Closable(Protocol):
    """What can be lent."""

    def close(self) -> None:
        """Drop the connection; the next use opens it anew."""


T = TypeVar("T", bound=Closable)


class PublisherPool(Generic[T]):
    """At most `POOL_SIZE` publishers, opened when needed, the last one used lent first.

    Thread-safe. Safe across forks: a child starts with none.
    """

    def __init__(self, open_publisher: Callable[[], T], wait_seconds: float) -> None:
        self._open_publisher = open_publisher
        self._wait_seconds = wait_seconds
        self._idle = self._new_queue()
        self._fork_token = after_fork(self._forget)

    @contextmanager
    def publisher(self) -> Iterator[T]:
        """Lend a publisher for the length of the block.

        Raises:
            BrokerUnavailable: all are in use and stay so. Nothing was sent.
        """
        idle = self._idle
        try:
            lent = idle.get(timeout=self._wait_seconds)
        except queue.Empty:
            raise BrokerUnavailable(
                f"all {POOL_SIZE} connections were busy for {self._wait_seconds:g} s"
            ) from None
        try:
            if lent is None:
                lent = self._open_publisher()
            yield lent
        finally:
            idle.put(lent)

    def close(self) -> None:
        """Close what is idle. What is lent closes with the process."""
        idle, self._idle = self._idle, self._new_queue()
        while True:
            try:
                publisher = idle.get_nowait()
            except queue.Empty:
                return
            if publisher is not None:
                publisher.close()

    def _forget(self) -> None:
        """Start anew in a forked child, without touching what the parent uses."""
        _inherited.append(self._idle)
        self._idle = self._new_queue()

    def _new_queue(self) -> "queue.LifoQueue[T | None]":
        places: queue.LifoQueue[T | None] = queue.LifoQueue()
        for _ in range(POOL_SIZE):
            places.put(None)
        return places
