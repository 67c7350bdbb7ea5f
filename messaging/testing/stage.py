"""Where the services of one test meet: the broker, the clock, and who does something next."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final

from asgiref.sync import async_to_sync

from messaging.apps import configured
from messaging.async_loop import running_by
from messaging.clock import BUS_CLOCK
from messaging.communicator import ServiceCommunicator
from messaging.config import MessagingConfig
from messaging.deadletter import DeadLetter
from messaging.envelope import Envelope, MessageKind
from messaging.models import OPEN, UNENDED, InboxMessage, OutboxMessage
from messaging.subscriber import Subscriber, speaking_over
from messaging.testing.broker import BROKERS, MemoryBroker
from messaging.testing.clock import VirtualClock
from messaging.testing.commits import Commits
from messaging.testing.due import look
from messaging.testing.facts import Fact, FactKind, fact_of, recording
from messaging.testing.faults import Faults
from messaging.testing.gateway import stand_in
from messaging.testing.receipts import told_of, untell
from messaging.testing.recurring import Recurring
from messaging.testing.stepped import HarnessError, SteppedBus, SteppedRelay
from messaging.testing.transport import SCHEME
from messaging.testing.worker import SteppedWorker

#: Rounds of deliveries after which services that tell each other more and more are given up on.
MOST_ROUNDS: Final = 10_000
#: What is due is due a little later: the database keeps microseconds, floats do not quite.
_A_LITTLE_SECONDS: Final = 0.00001


class Stage:
    """One test's services, in one thread. Opened by `open`, for good closed by `close`.

    Args:
        settings: of the library, beside those of the project.
        has_database: whether what production keeps in the database is kept there.
    """

    def __init__(self, settings: dict[str, Any], *, has_database: bool) -> None:
        self.clock = VirtualClock()
        self.broker = MemoryBroker(self.clock)
        self.faults = Faults()
        self.has_database = has_database
        self.facts: list[Fact] = []
        self.letters: list[DeadLetter] = []
        self.workers: dict[str, SteppedWorker] = {}
        self._settings = settings
        self._token = uuid.uuid4().hex
        self._commits: Commits | None = None
        self._relay: SteppedRelay | None = None
        #: Rows of the outbox whose receipts had come through before others got lost.
        self._known_before: set[int] = set()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._soon: list[Callable[[], None]] = []
        self._exits = ExitStack()
        self._is_open = False

    def open(self) -> None:
        """Have all communicators of this process speak to each other here."""
        with ExitStack() as exits:
            BROKERS[self._token] = self.broker
            exits.callback(BROKERS.pop, self._token)
            exits.enter_context(BUS_CLOCK.following(self.clock))
            exits.enter_context(speaking_over(self._make_bus))
            exits.enter_context(running_by(_run_here))
            exits.enter_context(recording(self._keep, self._passed))
            if self.has_database:
                self._commits = Commits()
            name = self._config(configured()).gateway_name
            gateway = stand_in(name, self.letters, self._services)
            self._recurring = Recurring(self.clock.now, self.later)
            self._gateway = self.add(gateway)
            if self.has_database:
                self._relay = SteppedRelay(gateway.bus, name, self.faults)
            self._exits = exits.pop_all()
        self._is_open = True

    def close(self) -> None:
        """Have communicators speak to whom they spoke before."""
        self._is_open = False
        self._exits.close()

    def require_open(self) -> None:
        """Raise HarnessError where communicators would speak to the real broker."""
        if not self._is_open:
            raise HarnessError("the harness is not open: use it in `with Harness() as bus:`")

    @property
    def is_in_transaction(self) -> bool:
        """Whether the test's own transaction is never committed."""
        return self._commits is not None and self._commits.is_in_transaction

    def add(self, communicator: ServiceCommunicator) -> SteppedWorker:
        """Run a worker for the handlers of a communicator."""
        if not communicator.uses_settings:
            raise HarnessError(
                f"{communicator.name} was made with settings of its own (config=…), and speaks to "
                "the broker that they name. Make it without, and give the harness what differs."
            )
        worker = self.workers[communicator.name] = SteppedWorker(communicator, self)
        self._recurring.of(communicator)
        return worker

    def note(self, kind: FactKind, service: str, envelope: Envelope, error: str = "") -> None:
        """Put a fact on record."""
        self._keep(fact_of(kind, service, envelope, self._passed(), error=error))

    def note_sent(self, envelope: Envelope) -> None:
        """Put on record that a service has said something.

        Not of the gateway's copies of a broadcast: they were said once.
        """
        is_copy = envelope.kind is MessageKind.EVENT and envelope.target
        if not is_copy:
            self.note(FactKind.SENT, envelope.source, envelope)

    def soon(self, act: Callable[[], None]) -> None:
        """Do something in the test's own thread, before anything else is delivered."""
        self._soon.append(act)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something when so much time has passed."""
        self._later.append((self.clock.now() + seconds, act))

    def commit(self) -> None:
        """Do what waits for the commit of what is over."""
        if self._commits is not None:
            self._commits.run()
        while self._soon:
            self._soon.pop(0)()

    def settle(self) -> None:
        """Do all that can be done at this instant."""
        for _ in range(MOST_ROUNDS):
            self.commit()
            if not (self._deliver_each() or self._do_what_is_due()):
                return
        raise HarnessError(
            f"no rest after {MOST_ROUNDS} rounds of deliveries: handlers tell each other more "
            f"and more. The last: {', '.join(f.type for f in self.facts[-5:])}"
        )

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what falls due when it does."""
        until = self.clock.passed_seconds + seconds
        self.settle()
        while (due_at := self._next_due()) is not None:
            passed = due_at - self.clock.started_at + _A_LITTLE_SECONDS
            if passed > until:
                break
            self.clock.move_to(passed)
            self.settle()
        self.clock.move_to(until)
        self.settle()

    def deliver_until(self, is_enough: Callable[[], bool], target: str) -> None:
        """Deliver what waits, that of one service first, until it is enough or all is quiet."""
        asked = self.workers.get(target)
        for _ in range(MOST_ROUNDS):
            if is_enough():
                return
            self.commit()
            is_done = asked is not None and not self.broker.is_down and asked.step()
            if not is_done and not self._deliver_each():
                return

    def waiting(self) -> list[str]:
        """Return what is still to come, as text."""
        lines = []
        for worker in self.workers.values():
            if worker.waiting:
                how = "bus.settle() delivers it" if worker.is_running else "it is stopped"
                lines.append(f"{worker.waiting} in the queue of {worker.name}: {how}")
        for name in sorted({fact.target for fact in self.facts} - {""} - set(self.workers)):
            length = self.broker.length(self._queue_name(name))
            if length:
                lines.append(f"{length} in the queue of {name}: bus.service(…) would run it")
        return lines

    def lose_all(self) -> None:
        """Have the broker lose what it held; workers bind their queues again."""
        self.broker.clear()
        self.look_at_broker()
        for worker in self.workers.values():
            worker.connect()

    @contextmanager
    def unheard(self, service: str) -> Iterator[None]:
        """Have no sender told what became of its messages at a service within the block."""
        known = set(told_of([service]).values_list("pk", flat=True))
        self._known_before |= known
        self.faults.unheard.add(service)
        try:
            yield
        finally:
            self.faults.unheard.discard(service)

    def on_its_way(self) -> set[str]:
        """Return the ids of messages that wait in a queue, an outbox or an inbox."""
        found = self.broker.message_ids()
        if self.has_database:
            unsent = OutboxMessage.objects.filter(state__in=OPEN)
            unended = InboxMessage.objects.filter(state__in=UNENDED).exclude(envelope="")
            found.update(unsent.values_list("message_id", flat=True))
            found.update(unended.values_list("message_id", flat=True))
        return found

    def look_at_broker(self) -> None:
        """Have the relay look whether the broker is there, and has what it had."""
        if self._relay is not None:
            self._relay.has_news = True

    def _keep(self, fact: Fact) -> None:
        # What the stand-in does with a broadcast is no service's doing.
        is_stand_in = self.workers.get(fact.service) is self._gateway
        if fact.service != self._gateway.name or not is_stand_in:
            self.facts.append(fact)

    def _queue_name(self, service: str) -> str:
        return self._gateway.communicator.bus.topology.queue_name(service)

    def _deliver_each(self) -> bool:
        """Have each service handle one message; return whether any had one."""
        if self.broker.is_down:
            return False
        had_one = [worker.step() for worker in list(self.workers.values())]
        return any(had_one)

    def _do_what_is_due(self) -> bool:
        now = self.clock.now()
        due = [each for each in self._later if each[0] <= now]
        self._later = [each for each in self._later if each[0] > now]
        for _, act in due:
            act()
        if self.faults.unheard:
            seconds = self._gateway_config().receipt_timeout_seconds
            untell(self.faults.unheard, self._known_before, seconds)
        if self._relay is None:
            return bool(due)
        return self._relay.step(look(), now) > 0 or bool(due)

    def _next_due(self) -> float | None:
        """Return when something falls due (seconds since 1970) that is not due already."""
        instants = [at for at, _ in self._later]
        # Relays do not look for rows while the broker is away.
        if self._relay is not None and not self.broker.is_down:
            first_at = look().first_at
            if first_at is not None:
                instants.append(first_at)
        now = self.clock.now()
        tick = now + self._gateway_config().relay_tick_seconds
        # What is due and was not done is looked at again a tick later, as by any relay.
        return min((at if at > now else tick for at in instants), default=None)

    def _services(self) -> list[ServiceCommunicator]:
        return [
            worker.communicator
            for name, worker in self.workers.items()
            if name != self._gateway.name
        ]

    def _make_bus(self, subscriber: Subscriber) -> SteppedBus:
        assert isinstance(subscriber, ServiceCommunicator)
        return SteppedBus(self._config(subscriber.config), self, subscriber.name)

    def _config(self, config: MessagingConfig) -> MessagingConfig:
        return replace(config, broker_url=f"{SCHEME}://{self._token}", **self._settings)

    def _gateway_config(self) -> MessagingConfig:
        return self._gateway.communicator.bus.config

    def _passed(self) -> float:
        return self.clock.passed_seconds


def _run_here(coroutine: Any) -> Any:
    """Run a handler's coroutine; its database work (``sync_to_async``) is done in this thread."""

    async def run() -> Any:
        return await coroutine

    return async_to_sync(run)()
