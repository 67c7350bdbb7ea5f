"""Writing messages: ``(nothing) --publish--> ready | delayed``, any number in one transaction."""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from messaging.errors import BrokerError, PublishError
from messaging.transport import leases, statements
from messaging.transport.errors import NoRoute
from messaging.transport.handing import MOST_TAKERS, Handed, datagram_of, taker_of
from messaging.transport.messages import Outgoing, handed_over
from messaging.transport.routing import Route, Router
from messaging.transport.store import Store
from messaging.transport.wakeup import Waker

logger = logging.getLogger(__name__)


class Publisher:
    """Publishes for all connections of this process to one file. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._router = Router()
        self._waker = Waker(store.files)

    def publish(self, messages: Sequence[Outgoing], *, full: bool, busy_seconds: float) -> None:
        """Store a copy in every queue that takes a message, all in one transaction.

        Messages that no queue takes are dropped without a write, as AMQP has it.

        Args:
            messages: written in this order, which is the order of delivery inside a priority.
            full: whether they survive a power cut once this returns.
            busy_seconds: wait that long for other writers.

        Raises:
            NoRoute: a mandatory message that no queue takes. None of them was written.
            NotFound: no such exchange. None of them was written.
            BrokerBusy, BrokerUnavailable: none of them was written; safe to send again.
            PublishUncertain: written, but the file vanished meanwhile.
        """
        if len(messages) == 1 and messages[0].may_hand_over and self._hand_over(messages[0]):
            return
        with self._store.connection() as db:
            # A list: every message is looked at, for the one that is mandatory.
            if not any(list(map(partial(self._current_routes, db), messages))):
                return
            transaction = self._store.transaction(full=full, busy_seconds=busy_seconds)
            with transaction:
                queue_ids, handed = self._write(db, messages)
                waiters = self._waiters(db, queue_ids)
        # After the commit: a consumer woken before it would look, find nothing and sleep again.
        self._waker.wake(waiters)
        strays = [each for each in handed if not self._waker.send(each.session_id, each.datagram)]
        if strays:
            self._take_back(strays, busy_seconds)

    def _take_back(self, strays: Iterable[Handed], busy_seconds: float) -> None:
        """``leased --> ready`` for what could not be handed over: a full socket, or no reader."""
        try:
            with self._store.transaction(busy_seconds=busy_seconds) as db:
                now, queue_ids = self._store.clock.now(), set()
                for each in strays:
                    queue_ids |= leases.requeue(
                        db, each.session_id, [each.message_id], now, delivered=False
                    )
        except (BrokerError, PublishError) as exc:
            # Stored it is all the same; its session, or whoever ends that, gives it back.
            logger.warning("embedded broker: messages handed over in vain come later: %s", exc)
        else:
            self.wake_consumers(queue_ids)

    def _hand_over(self, message: Outgoing) -> bool:
        """Send a message straight to the one who takes it; return False to use the file.

        What is known of routes and consumers may be old. A consumer that is gone has no socket,
        or drops what it no longer consumes, as happens to what its queue held.
        """
        with self._store.connection() as db:
            routes = self._current_routes(db, message)
            if len(routes) != 1:
                return False
            ((queue_id, ttl_ms),) = routes
            taker = self._router.consumers(db, queue_id).taker
        if taker is None or ttl_ms is not None:
            return False
        return self._waker.send(taker, handed_over(message, queue_id, self._store.clock.now()))

    def wake_consumers(self, queue_ids: Iterable[int]) -> None:
        """Have everyone who consumes from these queues look for messages."""
        with self._store.connection() as db:
            self._router.refresh(*db.execute(statements.VERSIONS).fetchone())
            waiters = self._waiters(db, queue_ids)
        self._waker.wake(waiters)

    def wake_sessions(self, session_ids: Iterable[int]) -> None:
        """Have these sessions look for messages."""
        self._waker.wake(session_ids)

    def forget_session(self, session_id: int) -> None:
        """Remove the wake-up socket of a session that is dead."""
        self._waker.remove(session_id)

    def _current_routes(self, db: sqlite3.Connection, message: Outgoing) -> tuple[Route, ...]:
        """Return the routes; unless empty they may be outdated, which `_write` finds out."""
        routes = self._router.cached(message.exchange, message.routing_key)
        if not routes:
            # Nowhere to go, as far as we know: make sure by a read of 3 us, so that events
            # without listeners cost no write lock.
            self._router.refresh(*db.execute(statements.VERSIONS).fetchone())
            routes = self._router.routes(db, message.exchange, message.routing_key)
        if message.mandatory and not routes:
            raise NoRoute(
                f"NO_ROUTE - exchange {message.exchange!r}, routing key {message.routing_key!r}"
            )
        return routes

    def _write(
        self, db: sqlite3.Connection, messages: Sequence[Outgoing]
    ) -> tuple[set[int], list[Handed]]:
        """Store messages; return the queues where they wait, and what is handed over instead."""
        routes = self._routes_of(db, messages)
        count = sum(map(len, routes))
        end, *versions = db.execute(statements.TAKE_IDS, {"count": count}).fetchone()
        if self._router.refresh(*versions):
            routes = self._routes_of(db, messages)
            more = sum(map(len, routes)) - count
            end = db.execute(statements.TAKE_IDS, {"count": more}).fetchone()[0]
            count += more
        now = self._store.clock.now()
        stored: list[dict[str, Any]] = []
        ready: list[dict[str, Any]] = []
        delayed: list[dict[str, Any]] = []
        leased: list[dict[str, Any]] = []
        handed: list[Handed] = []
        hands_over = len(messages) == 1 and count <= MOST_TAKERS
        next_id = end - count
        for message, takers in zip(messages, routes, strict=True):
            due_at = now + message.delay_seconds
            for route in takers:
                place = {"id": next_id, "queue_id": route.queue_id, "prio": message.prio}
                stored.append(_row(message, route, next_id, due_at))
                if message.delay_seconds:
                    delayed.append({**place, "due_at": due_at})
                elif hands_over and (
                    taken := self._hand(db, message, route.queue_id, next_id, now)
                ):
                    handed.append(taken)
                    leased.append({**place, "session_id": taken.session_id, "attempts": 1})
                else:
                    ready.append({**place, "attempts": 0, "at": now})
                next_id += 1
        _insert(db, statements.INSERT_MESSAGE, stored)
        _insert(db, statements.INSERT_READY, ready)
        _insert(db, statements.INSERT_DELAYED, delayed)
        _insert(db, statements.INSERT_LEASE, leased)
        return {row["queue_id"] for row in (*ready, *delayed)}, handed

    def _hand(
        self, db: sqlite3.Connection, message: Outgoing, queue_id: int, message_id: int, now: float
    ) -> Handed | None:
        if not self._router.consumers(db, queue_id).has_room:
            return None
        session_id = taker_of(db, queue_id)
        datagram = datagram_of(message, queue_id, message_id, now)
        if session_id is None or datagram is None:
            return None
        return Handed(session_id, message_id, datagram)

    def _routes_of(
        self, db: sqlite3.Connection, messages: Sequence[Outgoing]
    ) -> list[tuple[Route, ...]]:
        found = []
        for message in messages:
            routes = self._router.routes(db, message.exchange, message.routing_key)
            if message.mandatory and not routes:
                raise NoRoute(
                    f"NO_ROUTE - exchange {message.exchange!r}, key {message.routing_key!r}"
                )
            found.append(routes)
        return found

    def _waiters(self, db: sqlite3.Connection, queue_ids: Iterable[int]) -> set[int]:
        return {
            session_id
            for queue_id in queue_ids
            for session_id in self._router.consumers(db, queue_id).sessions
        }


def _row(message: Outgoing, route: Route, id: int, due_at: float) -> dict[str, Any]:
    ttls = [
        ttl for ttl in (message.ttl_seconds, _seconds(route.message_ttl_ms)) if ttl is not None
    ]
    return {
        "id": id,
        "queue_id": route.queue_id,
        "sent_at": due_at,
        # The shorter of the two counts, from when it may be delivered.
        "expires_at": due_at + min(ttls) if ttls else None,
        "props": message.props,
        "body": message.body,
    }


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _insert(db: sqlite3.Connection, statement: str, rows: list[dict[str, Any]]) -> None:
    if len(rows) == 1:
        db.execute(statement, rows[0])  # a third faster than executemany with one row
    elif rows:
        db.executemany(statement, rows)
