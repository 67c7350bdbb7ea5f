"""The harness: services of a test, time and faults at will, and what became of messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from messaging.communicator import ServiceCommunicator
from messaging.patterns import matches
from messaging.testing.clock import Duration, seconds_of
from messaging.testing.faults import Moment
from messaging.testing.questions import Questions
from messaging.testing.stage import Stage
from messaging.testing.stepped import HarnessError
from messaging.testing.worker import SteppedWorker

#: In whose name the harness itself speaks.
TESTER: Final = "tester"


class Harness(Questions):
    """Services of this process, handling messages in the test's own thread.

    As a context manager: within it every communicator that uses the settings speaks over a broker
    in memory, and the bus tells a time that stands still until `advance` moves it.

    Args:
        has_database: whether what production keeps in the database is kept; else whatever needs it
            fails.
        settings: of the library, where they differ from ``settings.MESSAGING``.
    """

    def __init__(self, *, has_database: bool = True, **settings: Any) -> None:
        super().__init__(Stage(settings, has_database=has_database))
        self._voices: dict[str, ServiceCommunicator] = {}

    def __enter__(self) -> Self:
        self._stage.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stage.close()

    def service(self, communicator: ServiceCommunicator) -> ServiceCommunicator:
        """Run a worker for the handlers of a communicator from now on; return the communicator.

        Register handlers first: its queue is bound to the events that they are for by then.
        """
        self._stage.require_open()
        self._stage.add(communicator)
        return communicator

    def stop(self, service: str) -> None:
        """Have no worker of a service run: what it is sent waits."""
        self._worker(service).is_running = False

    def start(self, service: str) -> None:
        """Run the worker of a service again, and let it do what waits."""
        self._worker(service).is_running = True
        self._stage.settle()

    def speaker(self, name: str) -> ServiceCommunicator:
        """Return a communicator that speaks for a service which is not run here."""
        self._stage.require_open()
        if name not in self._voices:
            self._voices[name] = ServiceCommunicator(name, version="test")
        return self._voices[name]

    def send(self, target: str, message_type: str, data: Any = None, **options: Any) -> str:
        """Send a command, have all that is due done, and return the message's id.

        Options and errors as those of `ServiceCommunicator.send_to_service`.
        """
        message_id = self.speaker(TESTER).send_to_service(target, message_type, data, **options)
        self._stage.settle()
        return message_id

    def broadcast(self, message_type: str, data: Any = None, **options: Any) -> str:
        """Broadcast an event, have all that is due done, and return the message's id.

        Options and errors as those of `ServiceCommunicator.broadcast`.
        """
        message_id = self.speaker(TESTER).broadcast(message_type, data, **options)
        self._stage.settle()
        return message_id

    def request(self, target: str, message_type: str, data: Any = None, **options: Any) -> Any:
        """Ask a service and return its answer. Without one the clock moves by the timeout.

        Raises:
            ServiceNotFound, RequestTimeout, RemoteError, …: as `ServiceCommunicator.request`.
        """
        answer = self.speaker(TESTER).request(target, message_type, data, **options)
        self._stage.settle()
        return answer

    def settle(self) -> None:
        """Have all that is due at this instant done: commits, deliveries, rows of the outbox."""
        self._stage.settle()

    def advance(self, duration: Duration) -> None:
        """Let time pass, and have all that falls due meanwhile done at its instant.

        Args:
            duration: seconds, or a text such as ``"5m"``, ``"1h30m"``.
        """
        self._stage.advance(seconds_of(duration))

    def now(self) -> datetime:
        """Return the present instant of the bus, aware, in UTC."""
        return datetime.fromtimestamp(self._stage.clock.now(), UTC)

    def crash(
        self,
        service: str,
        *,
        before: str = "",
        during: str = "",
        after: str = "",
        times: int = 1,
    ) -> None:
        """Have the worker of a service be killed with the next message of a type; it starts anew.

        Args:
            service: whose.
            before: a type or pattern: before the handler has done anything.
            during: …when it has done all it does, and nothing of that is on record.
            after: …when all is on record, and the broker has not been told.
            times: how often.
        """
        wanted = [
            (moment, pattern)
            for moment, pattern in (
                (Moment.BEFORE, before),
                (Moment.DURING, during),
                (Moment.AFTER, after),
            )
            if pattern
        ]
        if len(wanted) != 1:
            raise HarnessError(
                "crash: expected one of before=, during= or after= a message type, "
                f"got {len(wanted)}"
            )
        [(moment, pattern)] = wanted
        self._require_handler(service, pattern)
        self._stage.faults.crash(service, moment, pattern, times)

    def duplicate(self, message_type: str, *, service: str = "", times: int = 1) -> None:
        """Have the broker deliver the next messages of a type once more when they are done.

        As after an acknowledgement that was lost: marked as delivered before.

        Args:
            message_type: a type or pattern.
            service: at which service; empty: at any.
            times: how often.
        """
        self._stage.faults.lose_ack(service, message_type, times)

    @contextmanager
    def drop_receipts(self, service: str) -> Iterator[None]:
        """Within the block nobody is told what became of messages under custody at a service.

        So their senders, which keep them, publish them again as the rules of custody say.
        """
        self._worker(service)
        with self._stage.unheard(service):
            yield
        self._stage.settle()

    @contextmanager
    def broker_down(self) -> Iterator[None]:
        """Have nobody reach the broker within the block. What was kept goes out at its end."""
        self._stage.broker.is_down = True
        try:
            yield
        finally:
            self._stage.broker.is_down = False
            self._stage.look_at_broker()
        self._stage.settle()

    def wipe_broker(self) -> None:
        """Have the broker lose all that it holds, as a server does whose disk is gone."""
        self._stage.lose_all()

    def _worker(self, service: str) -> SteppedWorker:
        found = self._stage.workers.get(service)
        if found is None:
            known = ", ".join(sorted(self._stage.workers))
            raise HarnessError(
                f"{service!r} is not run here: bus.service(…) first; there is {known}"
            )
        return found

    def _require_handler(self, service: str, pattern: str) -> None:
        handlers = self._worker(service).communicator.bus.handlers
        known = handlers.patterns()
        if handlers.find(pattern) is None and not any(matches(pattern, each) for each in known):
            raise HarnessError(f"{service} handles no {pattern!r}; it handles {', '.join(known)}")
