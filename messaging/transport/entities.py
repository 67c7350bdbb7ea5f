"""Declaring, binding, purging and deleting: the half of a channel that shapes the broker."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import kombu.transport.virtual
from kombu.transport.base import to_rabbitmq_queue_arguments

from messaging.errors import BrokerUnavailable
from messaging.transport import declarations
from messaging.transport.broker import Broker
from messaging.transport.consuming import Consumption
from messaging.transport.declarations import QueueRow, find_queue
from messaging.transport.errors import NotFound, PreconditionFailed, ResourceLocked
from messaging.transport.maintenance import purge
from messaging.transport.options import Options

T = TypeVar("T")

#: kombu is only partly annotated; from here on it is dynamic, whatever a type checker follows.
virtual: Any = kombu.transport.virtual


class QueueDeclared(NamedTuple):
    """The answer to a declaration, as AMQP has it."""

    queue: str
    message_count: int
    consumer_count: int


class Entities(virtual.Channel):
    """Exchanges, queues and bindings. They live in the file: every process sees them at once."""

    def exchange_declare(
        self,
        exchange: str | None = None,
        type: str | None = "direct",
        durable: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        nowait: bool = False,
        passive: bool = False,
    ) -> None:
        """Make sure of an exchange; passive only asks. ``auto_delete`` is not kept.

        Raises:
            NotFound: passive, and there is none.
            PreconditionFailed: it exists with another type or durability.
        """
        kind = type or "direct"
        name = exchange or f"amq.{kind}"
        with self._broker.store.connection() as db:
            try:
                known = declarations.exchange_row(db, name)
            except NotFound:
                if passive:
                    raise
                known = None
        if passive or known == (kind, durable):
            return  # most declarations: no write, no lock
        with self._transaction() as db:
            declarations.declare_exchange(db, name, kind, durable=durable)

    def exchange_delete(
        self, exchange: str, if_unused: bool = False, nowait: bool = False
    ) -> None:
        """Delete an exchange and its bindings; the queues stay.

        Raises:
            PreconditionFailed: if_unused, and queues are bound to it.
        """
        with self._transaction() as db:
            declarations.drop_exchange(db, exchange, if_unused=if_unused)

    def prepare_queue_arguments(self, arguments: Any, **kwargs: Any) -> Any:
        """Return queue arguments in RabbitMQ's names and milliseconds."""
        return to_rabbitmq_queue_arguments(arguments, **kwargs)

    def queue_declare(
        self,
        queue: str | None = None,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        nowait: bool = False,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> QueueDeclared:
        """Make sure of a queue; passive only asks, and counts.

        Returns:
            Its name, its messages ready and its consumers. Messages are counted only when
            passive, in time proportional to their number (50 ms for a million); else it says 0.

        Raises:
            NotFound: passive, and there is none.
            PreconditionFailed: it exists with another ``durable``, ``x-max-priority``,
                ``x-expires`` or ``x-message-ttl``.
            ResourceLocked: exclusive to another connection.
        """
        name = queue or f"amq.gen-{uuid4()}"
        if passive:
            found = self._find(name)
            with self._broker.store.connection() as db:
                ready = declarations.count_ready(db, found.id)
                return QueueDeclared(name, ready, declarations.count_consumers(db, found.id))
        owner = self._consumption.session.id if exclusive else None

        def declare() -> int:
            with self._transaction() as db:
                queue_id = declarations.declare_queue(
                    db,
                    name,
                    durable=durable,
                    auto_delete=auto_delete,
                    arguments=arguments or {},
                    owner=owner,
                    session_id=self._consumption.session_id,
                    now=self._now(),
                )
                return declarations.count_consumers(db, queue_id)

        return QueueDeclared(name, 0, self._unless_owner_is_dead(declare))

    def queue_bind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Have an exchange route a key, or the pattern of a topic exchange, to a queue.

        Raises:
            NotFound: no such queue or exchange.
            ResourceLocked: exclusive to another connection.
        """
        found = self._find(queue)
        with self._transaction() as db:
            declarations.bind(db, exchange or "amq.direct", routing_key, found.id)

    def queue_unbind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Undo `queue_bind`; nothing happens if there is no such binding."""
        try:
            found = self._find(queue)
        except NotFound:
            return
        with self._transaction() as db:
            declarations.unbind(db, exchange or "amq.direct", routing_key, found.id)

    def queue_purge(self, queue: str, **kwargs: Any) -> int:
        """Delete what waits in a queue, and return how many. About 15 s for a million."""
        return purge(self._broker.store, self._find(queue).id, self._options.busy_seconds)

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any
    ) -> int:
        """Delete a queue with its messages and bindings; nothing happens if there is none.

        Returns:
            The messages that were waiting in it.

        Raises:
            PreconditionFailed: if_unused and it has consumers, or if_empty and it has messages.
            ResourceLocked: exclusive to another connection.
        """
        try:
            found = self._find(queue)
        except NotFound:
            return 0
        with self._transaction() as db:
            count = declarations.count_ready(db, found.id)
            if if_unused and declarations.count_consumers(db, found.id):
                raise PreconditionFailed(f"PRECONDITION_FAILED - queue {queue!r} is in use")
            if if_empty and count:
                raise PreconditionFailed(f"PRECONDITION_FAILED - queue {queue!r} is not empty")
            waiters = declarations.sessions_of(db, found.id)
            declarations.drop_queue(db, found.id)
        self._broker.publisher.wake_sessions(waiters)  # to learn that they are cancelled
        return count

    def get_table(self, exchange: str) -> list[tuple[str, None, str]]:
        """Return the bindings of an exchange as (routing key, None, queue name)."""
        rows = self._broker.store.read(
            "SELECT b.routing_key, q.name FROM binding b JOIN queue q ON q.id = b.queue_id"
            " WHERE b.exchange = :exchange",
            {"exchange": exchange},
        )
        return [(routing_key, None, name) for routing_key, name in rows]

    def get_exchanges(self) -> list[str]:
        """Return the names of all exchanges."""
        return [row[0] for row in self._broker.store.read("SELECT name FROM exchange")]

    def _size(self, queue: str) -> int:
        found = self._find(queue)
        with self._broker.store.connection() as db:
            return declarations.count_ready(db, found.id)

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        try:
            self._find(queue)
        except NotFound:
            return False
        return True

    def _find(self, name: str) -> QueueRow:
        def find() -> QueueRow:
            with self._broker.store.connection() as db:
                return find_queue(db, name, self._consumption.session_id)

        return self._unless_owner_is_dead(find)

    def _unless_owner_is_dead(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except ResourceLocked:
            # A worker killed and started again under its name finds its old control queue. The
            # kernel knows already that the owner is dead; the others notice within a second.
            self._broker.end_dead_sessions()
            return operation()

    def _now(self) -> float:
        return self._broker.store.clock.now()

    def _transaction(self) -> Any:
        return self._broker.store.transaction(busy_seconds=self._options.busy_seconds)

    @property
    def _broker(self) -> Broker:
        broker: Broker = self._open_connection.broker
        return broker

    @property
    def _consumption(self) -> Consumption:
        consumption: Consumption = self._open_connection.consumption
        return consumption

    @property
    def _options(self) -> Options:
        options: Options = self._open_connection.options
        return options

    @property
    def _open_connection(self) -> Any:
        if self.connection is None:
            raise BrokerUnavailable("this channel is closed")
        return self.connection
