"""One connection whose messages are confirmed after they were sent, many at a time.

A confirm of RabbitMQ takes a round trip, ten times what it takes to send. So a message is written
to the connection and noted here until its confirm has come, read together with others.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from messaging.clock import SYSTEM_CLOCK
from messaging.errors import BrokerRecovering, PublishError, PublishUncertain, Unroutable
from messaging.publisher import Addressed, Publisher

logger = logging.getLogger(__name__)

T = TypeVar("T")

_Name = tuple[str, str]


class LateConfirms(Generic[T]):
    """Messages on their way, each under an item of the caller's. Not thread-safe.

    Args:
        open_publisher: makes the publisher, whose channels must not wait for confirms; it is
            handed a function to call with each new channel.
        timeout_seconds: a broker that confirms nothing for so long is taken to be away.
    """

    def __init__(
        self,
        open_publisher: Callable[[Callable[[Any], None]], Publisher],
        timeout_seconds: float,
    ) -> None:
        self._publisher = open_publisher(self._adopt)
        self._timeout_seconds = timeout_seconds
        #: Tag of the last message on this channel.
        self._tag = 0
        #: Sent and not confirmed, by tag: item, and what it is known by when it comes back.
        self._open: dict[int, tuple[T, _Name]] = {}
        #: What came back because no queue took it, and why; the confirm follows.
        self._returned: dict[_Name, Unroutable] = {}
        #: Items that the broker has confirmed. The caller takes them out.
        self.confirmed: deque[T] = deque()
        #: Items that it has not, and never will, with what is known of them: `PublishUncertain`,
        #: or another `PublishError` if they were NOT sent. The caller takes them out.
        self.failed: deque[tuple[T, PublishError]] = deque()
        #: When the broker last confirmed something, or had nothing to confirm.
        self.heard_at = 0.0

    def __len__(self) -> int:
        """How many messages are sent and not confirmed."""
        return len(self._open)

    def publish(self, item: T, addressed: Addressed) -> None:
        """Send a message; what becomes of it is in `confirmed` or `failed` later.

        Raises:
            PublishError: the broker refused it. NOT sent.
            BrokerUnavailable: NOT sent; safe to send again.
            PublishUncertain: maybe sent.
        """
        try:
            if not self._open:
                self.heard_at = SYSTEM_CLOCK.monotonic()
            self._publisher.publish(addressed)
            self._tag += 1
            self._open[self._tag] = item, _name(addressed.message, addressed.routing_key)
        except BrokerRecovering:
            raise  # nothing is known to be wrong with the connection
        except BaseException:
            # An interrupt, too: nobody knows any more which confirm is for which message.
            self.drop("sending another message failed")
            raise

    def read(self, seconds: float) -> bool:
        """Read what the broker says; return whether it said something in time.

        A connection that breaks, or has been silent for too long, is given up.
        """
        if not self._open:
            return False
        try:
            if self._publisher.read(seconds):
                return True
            silent = SYSTEM_CLOCK.monotonic() - self.heard_at
            if silent >= self._timeout_seconds:
                self.drop(f"the broker confirmed nothing for {silent:.1f} s")
        except PublishError as exc:
            self.drop(str(exc))
        except BaseException:
            self.drop("reading confirms failed")
            raise
        return False

    def wait(self, most_open: int = 0) -> None:
        """Read until at most so many messages are unconfirmed, or the connection is given up."""
        while len(self._open) > most_open:
            self.read(self._timeout_seconds)

    def drop(self, reason: str) -> None:
        """Give the connection up; what it has not confirmed has failed."""
        try:
            self._publisher.close()
        except Exception:
            logger.exception("a broken connection could not be closed")
        self._break(reason)

    def close(self) -> None:
        """Close the connection; the next message opens it anew."""
        self.drop("the connection was closed")

    def _adopt(self, channel: Any) -> None:
        """Have a new channel confirm; what the one before has not confirmed may be lost."""
        self._break("the connection broke before the broker confirmed")
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    def _break(self, reason: str) -> None:
        self.failed += [(item, PublishUncertain(reason)) for item, _ in self._open.values()]
        self._open.clear()
        self._returned.clear()
        self._tag = 0

    def _take(self, tag: int, multiple: bool) -> list[tuple[T, _Name]]:
        # Here, and not where the connection is read: publishing reads it as well.
        self.heard_at = SYSTEM_CLOCK.monotonic()
        taken = []
        if multiple:
            while self._open and (first := next(iter(self._open))) < tag:
                taken.append(self._open.pop(first))
        if tag in self._open:
            taken.append(self._open.pop(tag))
        return taken

    def _on_ack(self, tag: int, multiple: bool) -> None:
        for item, name in self._take(tag, multiple):
            unroutable = self._returned.pop(name, None)
            if unroutable is None:
                self.confirmed.append(item)
            else:
                self.failed.append((item, unroutable))

    def _on_nack(self, tag: int, multiple: bool) -> None:
        refusal = PublishError("the broker refused it")
        self.failed += [(item, refusal) for item, _ in self._take(tag, multiple)]

    def _on_return(self, _error: Exception, exchange: str, key: str, message: Any) -> None:
        self._returned[_name(message, key)] = Unroutable(exchange, key)
        self._publisher.forget_declared()


def _name(message: Any, routing_key: str) -> _Name:
    # Not the id alone: copies of one broadcast have the same.
    return str(message.headers.get("id", "")), routing_key
