"""A broker in memory: queues by priority, exchanges and bindings, as AMQP has them."""

import bisect
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from messaging.clock import Clock
from messaging.errors import BrokerUnavailable
from messaging.patterns import matches

#: Brokers by the name in their URL, for the transport; see `transport`.
BROKERS: Final[dict[str, "MemoryBroker"]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One message in one queue."""

    number: int
    body: str
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]
    priority: int
    #: After this instant (seconds since 1970) nobody gets it; None: it waits for ever.
    expires_at: float | None
    redelivered: bool = False


@dataclass(slots=True)
class _Queue:
    #: The most urgent first, then in the order they came in.
    waiting: list[Stored] = field(default_factory=list)


class MemoryBroker:
    """All that one harness has on its broker. Thread-safe.

    Args:
        clock: says what has expired.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._queues: dict[str, _Queue] = {}
        self._exchanges: dict[str, str] = {}
        #: By exchange: keys or patterns, and the queues that are bound by them.
        self._bindings: dict[str, list[tuple[str, str]]] = {}
        self._numbers = itertools.count(1)
        #: Whether nobody can reach it.
        self.is_down = False

    def reach(self) -> None:
        """Raise BrokerUnavailable while it is down."""
        if self.is_down:
            raise BrokerUnavailable("the broker is down: the test has said so")

    def declare_exchange(self, name: str, kind: str) -> None:
        """Have an exchange exist."""
        with self._lock:
            self._exchanges[name] = kind
            self._bindings.setdefault(name, [])

    def declare_queue(self, name: str) -> None:
        """Have a queue exist; what is in it stays."""
        with self._lock:
            self._queues.setdefault(name, _Queue())

    def bind(self, queue: str, exchange: str, key: str) -> None:
        """Have an exchange route to a queue, by key or pattern."""
        with self._lock:
            bound = self._bindings.setdefault(exchange, [])
            if exchange and (key, queue) not in bound:
                bound.append((key, queue))

    def delete_queue(self, name: str) -> None:
        """Remove a queue and what is in it."""
        with self._lock:
            self._queues.pop(name, None)

    def bound_to(self, exchange: str) -> list[tuple[str, str]]:
        """Return the bindings of an exchange: key and queue."""
        with self._lock:
            return list(self._bindings.get(exchange, ()))

    def has_queue(self, name: str) -> bool:
        """Return whether there is a queue of that name."""
        return name in self._queues

    def length(self, name: str) -> int:
        """Return how many messages wait in a queue."""
        with self._lock:
            queue = self._queues.get(name)
            return len(self._alive(queue)) if queue is not None else 0

    def message_ids(self) -> set[str]:
        """Return the ids of all messages that wait in any queue."""
        with self._lock:
            queues = list(self._queues.values())
            return {str(each.headers.get("id")) for queue in queues for each in queue.waiting}

    def route(self, exchange: str, key: str) -> list[str]:
        """Return the queues that get what is published so, each once."""
        with self._lock:
            if not exchange:
                return [key] if key in self._queues else []
            fits = matches if self._exchanges.get(exchange) == "topic" else str.__eq__
            bound = self._bindings.get(exchange, ())
            return list(dict.fromkeys(queue for pattern, queue in bound if fits(pattern, key)))

    def publish(self, exchange: str, key: str, message: Mapping[str, Any]) -> int:
        """Put a message into the queues that get it; return how many do."""
        properties = dict(message["properties"])
        lives_for = properties.get("expiration")
        expires_at = None if lives_for is None else self._clock.now() + int(lives_for) / 1000
        with self._lock:
            queues = self.route(exchange, key)
            for name in queues:
                stored = Stored(
                    number=next(self._numbers),
                    body=message["body"],
                    headers=dict(message["headers"]),
                    properties=properties,
                    priority=int(properties.get("priority") or 0),
                    expires_at=expires_at,
                )
                self._put(self._queues[name], stored)
            return len(queues)

    def take(self, name: str) -> Stored | None:
        """Take the next message out of a queue."""
        with self._lock:
            queue = self._queues.get(name)
            alive = self._alive(queue) if queue is not None else []
            return alive.pop(0) if alive else None

    def give_back(self, name: str, stored: Stored) -> None:
        """Put a message back where it was, as delivered before."""
        with self._lock:
            self._put(self._queues.setdefault(name, _Queue()), replace(stored, redelivered=True))

    def clear(self) -> None:
        """Lose everything, as a server does whose disk is gone."""
        with self._lock:
            self._queues.clear()
            self._exchanges.clear()
            self._bindings.clear()

    def _alive(self, queue: _Queue) -> list[Stored]:
        now = self._clock.now()
        queue.waiting[:] = [
            each for each in queue.waiting if each.expires_at is None or now <= each.expires_at
        ]
        return queue.waiting

    def _put(self, queue: _Queue, stored: Stored) -> None:
        bisect.insort(queue.waiting, stored, key=lambda each: (-each.priority, each.number))
