"""Which queues a message goes to: AMQP's exchange types, cached until the topology changes."""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from messaging.transport import statements
from messaging.transport.errors import NotFound

#: Routing keys may hold ids; a cache of them must not grow for ever.
_CACHED_ROUTES: Final = 10_000

EXCHANGE_TYPES: Final = ("direct", "topic", "fanout")


class Route(NamedTuple):
    """One queue that takes a message."""

    queue_id: int
    message_ttl_ms: int | None


class Consumers(NamedTuple):
    """Who consumes from one queue."""

    #: Sessions to wake when it gets a message.
    sessions: tuple[int, ...]
    #: The session of its only consumer, if that takes without a lease.
    taker: int | None
    #: Whether some may be handed messages.
    has_room: bool


class _Node:
    """What may follow the words so far, and the queues of the patterns that end here."""

    __slots__ = ("queue_ids", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node] = {}
        self.queue_ids: set[int] = set()


class TopicTable:
    """Topic patterns of one exchange as a trie: the cost follows the key, not their number.

    ``*`` matches one word, ``#`` any number of words, also none; words are separated by dots.
    """

    def __init__(self, bindings: Iterable[tuple[str, int]]) -> None:
        self._root = _Node()
        for pattern, queue_id in bindings:
            node = self._root
            for word in pattern.split("."):
                node = node.words.setdefault(word, _Node())
            node.queue_ids.add(queue_id)

    def match(self, routing_key: str) -> set[int]:
        """Return the queues of all patterns that match, each once."""
        found: set[int] = set()
        words = routing_key.split(".")
        # Each place is visited once: "#.#.#" would else take time exponential in the words.
        seen: set[tuple[int, int]] = set()
        places = [(self._root, 0)]
        while places:
            node, at = places.pop()
            if (id(node), at) in seen:
                continue
            seen.add((id(node), at))
            if at == len(words):
                found |= node.queue_ids
            else:
                following = (node.words.get(words[at]), node.words.get("*"))
                places += [(next_node, at + 1) for next_node in following if next_node]
            if "#" in node.words:
                places += [(node.words["#"], used) for used in range(at, len(words) + 1)]
        return found


class Router:
    """Routes and waiting consumers, as of the file's two change counters.

    Not thread-safe: used under the store's lock.
    """

    def __init__(self) -> None:
        self._topology = self._consumers = -1
        self._routes: dict[tuple[str, str], tuple[Route, ...]] = {}
        self._tables: dict[str, tuple[int, Callable[[str], Iterable[int]]]] = {}
        self._consumers_of: dict[int, Consumers] = {}

    def refresh(self, topology: int, consumers: int) -> bool:
        """Forget what is older than these counters; return whether routes were forgotten."""
        if consumers != self._consumers:
            self._consumers = consumers
            self._consumers_of.clear()
        if topology == self._topology:
            return False
        self._topology = topology
        self._routes.clear()
        return True

    def cached(self, exchange: str, routing_key: str) -> tuple[Route, ...]:
        """Return what was found before and may be old, or nothing."""
        return self._routes.get((exchange, routing_key), ())

    def routes(self, db: sqlite3.Connection, exchange: str, routing_key: str) -> tuple[Route, ...]:
        """Return where a message goes, each queue once.

        Raises:
            NotFound: no such exchange.
        """
        key = exchange, routing_key
        found = self._routes.get(key)
        if found is None:
            if len(self._routes) >= _CACHED_ROUTES:
                self._routes.clear()
            found = self._routes[key] = self._look_up(db, exchange, routing_key)
        return found

    def consumers(self, db: sqlite3.Connection, queue_id: int) -> Consumers:
        """Return who consumes from a queue."""
        found = self._consumers_of.get(queue_id)
        if found is None:
            rows = db.execute(statements.CONSUMERS, {"queue_id": queue_id}).fetchall()
            taker = rows[0][0] if len(rows) == 1 and rows[0][1] else None
            has_room = any(row[2] for row in rows)
            found = Consumers(tuple({row[0] for row in rows}), taker, has_room)
            self._consumers_of[queue_id] = found
        return found

    def _look_up(
        self, db: sqlite3.Connection, exchange: str, routing_key: str
    ) -> tuple[Route, ...]:
        if not exchange:  # the default exchange: every queue is bound by its name
            rows = db.execute(statements.QUEUE_BY_NAME, {"name": routing_key}).fetchall()
            return tuple(Route(*row) for row in rows)
        row = db.execute(statements.EXCHANGE, {"exchange": exchange}).fetchone()
        if row is None:
            raise NotFound(f"NOT_FOUND - no exchange {exchange!r}")
        kind, version = row
        if kind == "direct":
            parameters = {"exchange": exchange, "routing_key": routing_key}
            rows = db.execute(statements.DIRECT_ROUTES, parameters).fetchall()
            queue_ids: Iterable[int] = (row[0] for row in rows)
        else:
            queue_ids = self._table(db, exchange, kind, version)(routing_key)
        return tuple(
            Route(queue_id, db.execute(statements.QUEUE_TTL, {"queue_id": queue_id}).fetchone()[0])
            for queue_id in sorted(queue_ids)
        )

    def _table(
        self, db: sqlite3.Connection, exchange: str, kind: str, version: int
    ) -> Callable[[str], Iterable[int]]:
        # By the version of the exchange: every reply queue that comes or goes changes the
        # topology, and reading 5,000 patterns anew takes milliseconds.
        cached = self._tables.get(exchange)
        if cached is not None and cached[0] == version:
            return cached[1]
        bindings = db.execute(statements.ALL_ROUTES, {"exchange": exchange}).fetchall()
        if kind == "topic":
            match: Callable[[str], Iterable[int]] = TopicTable(bindings).match
        else:
            everyone = {queue_id for _, queue_id in bindings}

            def match(_routing_key: str) -> Iterable[int]:
                return everyone

        self._tables[exchange] = version, match
        return match
