"""One service's worker in a test: deliveries one at a time, through the code of the real one."""

from collections.abc import Callable
from typing import Protocol

from messaging.communicator import ServiceCommunicator
from messaging.custody.arrival import arrival_of
from messaging.custody.control import Control
from messaging.custody.owner import this_process
from messaging.custody.run_groups import RunGroups
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope
from messaging.errors import DecodeError
from messaging.incoming import read
from messaging.models import InboxMessage, InboxState
from messaging.receiver import Receiver
from messaging.testing.broker import MemoryBroker, Stored
from messaging.testing.deliveries import message_of
from messaging.testing.facts import FactKind
from messaging.testing.faults import Faults, Moment, ProcessDied
from messaging.testing.stepped import HarnessError

#: As a real worker: a message that could not be settled comes again after this.
REDELIVER_AFTER_SECONDS = 1.0


class Surroundings(Protocol):
    """What a worker needs of its harness."""

    broker: MemoryBroker
    faults: Faults
    has_database: bool

    def note(self, kind: FactKind, service: str, envelope: Envelope, error: str = "") -> None:
        """Put a fact on record."""

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something when so much time has passed."""


class SteppedWorker:
    """Handles the messages of one service, one whenever it is told to."""

    def __init__(self, communicator: ServiceCommunicator, around: Surroundings) -> None:
        self.communicator = communicator
        self.name = communicator.name
        self.is_running = True
        self._around = around
        bus = communicator.bus
        self._queue = bus.topology.worker_queue(self.name, bus.handlers.patterns())
        self._custody_queue = bus.topology.custody_queue(self.name)
        self.connect()
        self._begin()

    @property
    def waiting(self) -> int:
        """How many messages wait for it."""
        return self._around.broker.length(self._queue.name)

    def connect(self) -> None:
        """Have its queues exist and be bound, as a worker does when it connects."""
        with self.communicator.bus.publisher() as publisher:
            publisher.forget_declared()
            publisher.declare(self._queue)
            publisher.declare(self._custody_queue)

    def step(self) -> bool:
        """Handle the next message; return whether there was one."""
        if not self.is_running:
            return False
        self._read_custody_queue()
        stored = self._around.broker.take(self._queue.name)
        if stored is None:
            return False
        self._deliver(stored)
        return True

    def _begin(self) -> None:
        """Start as a new process."""
        bus = self.communicator.bus
        self._receiver = Receiver(self.communicator)
        self._control = _Control(bus, self.name)
        self._run_groups = RunGroups(
            self.name,
            bus.config.max_worker_deaths,
            self.communicator.identity.version,
            records_all=bus.keyring.has_keys,
        )

    def _deliver(self, stored: Stored) -> None:
        around, message = self._around, message_of(stored)
        try:
            envelope = read(message, self.communicator.bus, self.name)
        except DecodeError as exc:
            reason = DeadLetterReason(exc.reason)
            self.communicator.parking.park_delivery(message, reason, exc)
            return
        arrival = arrival_of(message)
        expected = self._receiver.expect(self._run_groups, envelope, arrival)
        try:
            outcome = self._receiver.receive(envelope, arrival, expected)
            around.faults.strike(self.name, Moment.AFTER, envelope.type)
        except ProcessDied as exc:
            around.note(FactKind.CRASHED, self.name, envelope, f"{exc}")
            self._die(envelope, stored)
            return
        if not outcome.is_settled:
            self._redeliver_later(envelope, stored, outcome.error)
        elif around.faults.loses_ack(self.name, envelope.type):
            around.broker.give_back(self._queue.name, stored)

    def _die(self, envelope: Envelope, stored: Stored) -> None:
        """End as a process that is killed, and be started again at once."""
        self._around.broker.give_back(self._queue.name, stored)
        if self._around.has_database:
            # What had the run is gone, as every process of this host can see.
            host_and_pid = this_process().rpartition("/")[0]
            InboxMessage.objects.filter(
                message_id=envelope.id, service=self.name, state=InboxState.RUNNING
            ).update(owner=f"{host_and_pid}/gone")
        self._begin()

    def _redeliver_later(self, envelope: Envelope, stored: Stored, error: str) -> None:
        broker, queue = self._around.broker, self._queue.name
        if not broker.is_down:
            raise HarnessError(
                f"{self.name} could not put on record what became of {envelope.type}: {error}. In "
                "production the broker would deliver it again and again; here the test ends. (Is "
                "there a database? The fixture `bus` has one, `bus_without_database` has none.)"
            )
        self._around.later(REDELIVER_AFTER_SECONDS, lambda: broker.give_back(queue, stored))

    def _read_custody_queue(self) -> None:
        told = []
        while (stored := self._around.broker.take(self._custody_queue.name)) is not None:
            told.append(stored)
        if told and self._around.has_database:
            self._control.take(told)


class _Control(Control):
    """Reads what the harness takes from the custody queue."""

    def take(self, told: list[Stored]) -> None:
        messages = [message_of(stored) for stored in told]
        for custodian, entries in self._apply(messages).items():
            self._link.tell(custodian, self._service, entries)
