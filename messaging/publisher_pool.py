"""The publishers of one process, lent to one thread at a time."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final, Generic, Protocol, TypeVar

from messaging.errors import BrokerUnavailable, MessagingError
from messaging.forking import after_fork

logger = logging.getLogger(__name__)

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


class _Places(Generic[T]):
    """What is not lent, the last one put back on top; None: a place for one to be opened.

    Without a lock of Python's: an interrupt (Ctrl-C, a signal handler that raises) between its
    acquisition and the block that it guards would leave it locked, and every sender waiting.
    """

    def __init__(self) -> None:
        self._stack: deque[T | None] = deque([None] * POOL_SIZE)
        #: An item for each place; written in C, an interrupt of the wait takes none.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in self._stack:
            self._free.put(None)

    def take(self, wait_seconds: float) -> T | None:
        """Take what is on top. Raises queue.Empty: nothing in time."""
        self._free.get(timeout=wait_seconds)
        return self._stack.pop()

    def put(self, publisher: T | None) -> None:
        """Put one on top."""
        self._stack.append(publisher)
        self._free.put(None)

    def take_all(self) -> Iterator[T]:
        """Take the publishers, one after the other."""
        while True:
            try:
                publisher = self.take(0)
            except Empty:
                return
            if publisher is not None:
                yield publisher


class PublisherPool(Generic[T]):
    """At most `POOL_SIZE` publishers, opened when needed, the last one used lent first.

    Thread-safe. Safe across forks: a child starts with none. Safe to interrupt: what was at work
    then is closed.
    """

    def __init__(self, open_publisher: Callable[[], T], wait_seconds: float) -> None:
        self._open_publisher = open_publisher
        self._wait_seconds = wait_seconds
        self._places: _Places[T] = _Places()
        self._fork_token = after_fork(self._forget)

    @contextmanager
    def publisher(self) -> Iterator[T]:
        """Lend a publisher for the length of the block.

        Raises:
            BrokerUnavailable: all are in use and stay so. Nothing was sent.
        """
        places = self._places
        try:
            lent = places.take(self._wait_seconds)
        except Empty:
            raise BrokerUnavailable(
                f"all {POOL_SIZE} connections were busy for {self._wait_seconds:g} s"
            ) from None
        try:
            if lent is None:
                lent = self._open_publisher()
            yield lent
        except MessagingError:
            raise  # its publisher has said so, and has seen to its connection
        except BaseException:
            # It may have been interrupted anywhere, with a confirm on its way, which would count
            # for the next message.
            lent, broken = None, lent
            if broken is not None:
                _close(broken)
            raise
        finally:
            places.put(lent)

    def close(self) -> None:
        """Close what is idle. What is lent closes with the process."""
        places, self._places = self._places, _Places()
        for publisher in places.take_all():
            publisher.close()

    def _forget(self) -> None:
        """Start anew in a forked child, without touching what the parent uses."""
        _inherited.append(self._places)
        self._places = _Places()


def _close(publisher: Closable) -> None:
    try:
        publisher.close()
    except Exception:
        logger.exception("the connection of an interrupted publisher could not be closed")
