"""The parts of a bus that wait for threads in life, and take their steps in the test's own here.

All else of `MessageBus` is as in production: limits, codec, signatures, publishers, custody.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from asgiref.sync import sync_to_async
from django.db import transaction

from messaging.bus import MessageBus
from messaging.compose import Composer
from messaging.config import MessagingConfig
from messaging.custody.handoff import Handoff, Item
from messaging.custody.outbox import Key
from messaging.custody.relay import Relay
from messaging.database_threads import on_event_loop
from messaging.dispatch import Dispatch
from messaging.envelope import Envelope
from messaging.errors import BrokerError, PublishUncertain, RequestTimeout
from messaging.handlers import Handler
from messaging.replies import Outcome, ReplyQueue
from messaging.requester import Requester, answer_of
from messaging.testing.broker import MemoryBroker
from messaging.testing.clock import VirtualClock
from messaging.testing.deliveries import message_of
from messaging.testing.due import Due
from messaging.testing.faults import Faults

#: Whoever has waited in vain goes on a moment after its patience has ended: what it asked has
#: expired by then.
_MOMENT_SECONDS: Final = 0.001


class HarnessError(BaseException):
    """The test asks for what the harness cannot do; its text says what to do instead.

    No `Exception`: neither handlers nor the library shall take it for the failure of a message.
    """


class World(Protocol):
    """What the buses of one harness share."""

    clock: VirtualClock
    broker: MemoryBroker
    faults: Faults

    @property
    def is_in_transaction(self) -> bool:
        """Whether the test's own transaction is never committed."""

    def note_sent(self, envelope: Envelope) -> None:
        """Put on record that a service has said something."""

    def soon(self, act: Callable[[], None]) -> None:
        """Do something in the test's own thread, before anything else is delivered."""

    def deliver_until(self, is_enough: Callable[[], bool], target: str) -> None:
        """Deliver what waits, that of one service first, until it is enough or all is quiet."""


class SteppedBus(MessageBus):
    """The bus of one communicator in a test."""

    def __init__(self, config: MessagingConfig, world: World, service: str) -> None:
        super().__init__(config, world.clock)
        self._world = world
        self._service = service
        self.dispatch = SteppedDispatch(self, world)

    def subscribe(
        self,
        pattern: str,
        function: Callable[..., Any],
        *,
        built_in: bool = False,
        **options: Any,
    ) -> Handler:
        """Have messages handed to the function, in which the process may be made to die."""
        return super().subscribe(
            pattern,
            function if built_in else self._world.faults.guarded(self._service, function),
            built_in=built_in,
            **options,
        )

    def new_requester(self, composer: Composer, service: str) -> Requester:
        """Return what asks other services, and has them work while it waits."""
        return SteppedRequester(self, composer, service, self._world)


class SteppedDispatch(Dispatch):
    """Publishes what is under custody with the commit, in the same thread."""

    def __init__(self, bus: MessageBus, world: World) -> None:
        super().__init__(bus)
        self._world = world
        self._kept: set[str] = set()

    def send(self, envelope: Envelope, *, delay: float | None, may_repeat: bool) -> str:
        """Send a message and put it on record: once it is committed, where that matters."""
        needs_database = envelope.custodian is not None or bool(delay)
        if needs_database and on_event_loop() and self._world.is_in_transaction:
            raise HarnessError(
                f"{envelope.type}: an async handler that sends what the database keeps does so on "
                "another connection, which the test's transaction keeps out. Mark the test with "
                "@pytest.mark.django_db(transaction=True), or send by sync_to_async."
            )
        message_id = super().send(envelope, delay=delay, may_repeat=may_repeat)
        is_kept = needs_database or envelope.id in self._kept
        self._kept.discard(envelope.id)
        if is_kept and not on_event_loop():  # there it is committed by now
            transaction.on_commit(lambda: self._world.note_sent(envelope))
        else:
            self._world.note_sent(envelope)
        return message_id

    def _store(self, envelope: Envelope, delay: float, error: str) -> None:
        super()._store(envelope, delay, error)
        self._kept.add(envelope.id)

    def _start_handoff(self) -> Handoff:
        return _SteppedHandoff(self._bus, self._world)


class _SteppedHandoff(Handoff):
    def __init__(self, bus: MessageBus, world: World) -> None:
        super().__init__(bus)
        self._world = world

    def give(self, key: Key, envelope: Envelope, body: str) -> None:
        items = [Item(key, envelope, body)]
        if on_event_loop():  # no place for a database
            self._world.soon(lambda: self.publish(items))
        else:
            self.publish(items)


class SteppedReplies(ReplyQueue):
    """The reply queue of one communicator, read when its owner waits."""

    def open(self) -> None:
        """Have the queue exist.

        Raises:
            BrokerUnavailable: the broker is down. Nothing was sent.
        """
        with self._bus.publisher() as publisher:
            publisher.declare(self._bus.topology.reply_queue(self.name))

    def read(self, broker: MemoryBroker) -> None:
        """Tell whoever waits of what has come."""
        while (stored := broker.take(self.name)) is not None:
            self._on_message(message_of(stored))


class SteppedRequester(Requester):
    """Asks, and has the others work until the answer is there."""

    def __init__(self, bus: MessageBus, composer: Composer, service: str, world: World) -> None:
        super().__init__(bus, composer, service)
        self._world = world
        self._replies: SteppedReplies = SteppedReplies(bus, service)

    def ask(self, envelope: Envelope, seconds: float) -> Any:
        """Send a request and return its answer; without one the clock moves on by the timeout."""
        told: list[Outcome] = []

        def is_told() -> bool:
            self._replies.read(self._world.broker)
            return bool(told)

        self._replies.expect(envelope, told.append)
        try:
            self._replies.open()
            self._publish(envelope)
            self._world.note_sent(envelope)
            self._world.deliver_until(is_told, envelope.target)
            if not told:
                self._world.clock.sleep(seconds + _MOMENT_SECONDS)
                raise RequestTimeout(envelope.target, envelope.type, seconds)
            return answer_of(told[0])
        finally:
            self._replies.forget(envelope.id)

    async def ask_async(self, envelope: Envelope, seconds: float) -> Any:
        """Ask from the test's own thread, which has the database."""
        return await sync_to_async(self.ask)(envelope, seconds)


class SteppedRelay(Relay):
    """What the relay thread of a worker does, a step at a time."""

    def __init__(self, bus: MessageBus, service: str, faults: Faults) -> None:
        super().__init__(bus, service)
        self._faults = faults
        #: Whether the broker was away, or has lost something, since it was looked at.
        self.has_news = True

    def step(self, due: Due, now: float) -> int:
        """Do what is due; return how many rows. While the broker is away: none.

        Only what has something to do: a look at a table where nothing is due changes nothing, and
        one at the broker's marker while nothing has happened to the broker.
        """
        try:
            return self._do(due, now)
        except (BrokerError, PublishUncertain) as exc:
            self._lost_broker(exc)
            return 0

    def _do(self, due: Due, now: float) -> int:
        if self.has_news:
            self._epoch_at = 0.0
            self._watch_broker()
            self.has_news = False
        done = 0
        if due.outbox_at is not None and due.outbox_at <= now:
            done += self._publish_outbox()
        if due.inbox_at is not None and due.inbox_at <= now:
            done += self._publish_inbox()
        if due.owes_receipts:
            done += self._tell_custodians()
        return done

    def _is_received(self, key: Key) -> bool:
        # As of a receiver that has another database, and whose receipts get lost.
        return key.target not in self._faults.unheard and super()._is_received(key)
