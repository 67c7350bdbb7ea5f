"""The harness: services of a test, time and faults at will, and what became of messages."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from messaging.communicator import ServiceCommunicator
from messaging.deadletter import DeadLetter, DeadLetterReason
from messaging.envelope import MessageKind
from messaging.patterns import matches
from messaging.registration import INTERNAL
from messaging.testing.clock import Duration, seconds_of
from messaging.testing.facts import Fact, FactKind
from messaging.testing.faults import Moment
from messaging.testing.found import Found, told
from messaging.testing.gateway import takes
from messaging.testing.stage import Stage
from messaging.testing.stepped import HarnessError
from messaging.testing.worker import SteppedWorker

#: In whose name the harness itself speaks.
TESTER: Final = "tester"
#: Every type but the library's own.
ALL: Final = "#"
_ENDS: Final = (FactKind.HANDLED, FactKind.PARKED, FactKind.EXPIRED)


class Harness:
    """Services of this process, handling messages in the test's own thread.

    As a context manager: within it every communicator that uses the settings speaks over a broker
    in memory, and the bus tells a time that stands still until `advance` moves it.

    Args:
        has_database: whether what production keeps in the database is kept; else whatever needs it
            fails.
        settings: of the library, where they differ from ``settings.MESSAGING``.
    """

    def __init__(self, *, has_database: bool = True, **settings: Any) -> None:
        self._stage = Stage(settings, has_database=has_database)
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

    # Who is there.

    def service(self, communicator: ServiceCommunicator) -> ServiceCommunicator:
        """Run a worker for the handlers of a communicator from now on; return the communicator.

        Register handlers first: its queue is bound to the events that they are for by then.
        """
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
        if name not in self._voices:
            self._voices[name] = ServiceCommunicator(name, version="test")
        return self._voices[name]

    # What is said. Options as those of `ServiceCommunicator`; all is delivered before they return.

    def send(self, target: str, message_type: str, data: Any = None, **options: Any) -> str:
        """Send a command, have all that is due done, and return the message's id."""
        message_id = self.speaker(TESTER).send_to_service(target, message_type, data, **options)
        self._stage.settle()
        return message_id

    def broadcast(self, message_type: str, data: Any = None, **options: Any) -> str:
        """Broadcast an event, have all that is due done, and return the message's id."""
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

    # Time.

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

    # What goes wrong.

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

    # What became of it.

    def sent(self, type: str = ALL, **filters: Any) -> Found:
        """Return what was said, committed where that matters: by whoever, to whomever.

        Args:
            type: of the messages, or a pattern; the library's own are left out of ``#``.
            filters: see `facts`.
        """
        return self._found(FactKind.SENT, type, filters)

    def handled(self, type: str = ALL, **filters: Any) -> Found:
        """Return what handlers are done with; arguments as `sent`."""
        return self._found(FactKind.HANDLED, type, filters)

    def failed(self, type: str = ALL, **filters: Any) -> Found:
        """Return attempts that failed; arguments as `sent`."""
        return self._found(FactKind.FAILED, type, filters)

    def retried(self, type: str = ALL, **filters: Any) -> Found:
        """Return what was put off to be tried again later; arguments as `sent`."""
        return self._found(FactKind.RETRIED, type, filters)

    def parked(
        self, type: str = ALL, *, reason: DeadLetterReason | str = "", **filters: Any
    ) -> Found:
        """Return what was given up, for a reason if one is named; arguments as `sent`."""
        if reason:
            filters["reason"] = str(DeadLetterReason(reason))
        return self._found(FactKind.PARKED, type, filters)

    def expired(self, type: str = ALL, **filters: Any) -> Found:
        """Return what came too late; arguments as `sent`."""
        return self._found(FactKind.EXPIRED, type, filters)

    def crashed(self, type: str = ALL, **filters: Any) -> Found:
        """Return the messages with which a worker died; arguments as `sent`."""
        return self._found(FactKind.CRASHED, type, filters)

    def facts(self, type: str = ALL, **filters: Any) -> list[Fact]:
        """Return all that has happened, in order.

        Args:
            type: of the messages, or a pattern.
            filters: by name of a field of `Fact`, what it is: ``service="billing"``; of ``data``
                the keys that are named: ``data={"id": 7}``.
        """
        self._stage.commit()
        return [fact for fact in self._stage.facts if _fits(fact, type, filters)]

    def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters that have reached the gateway."""
        return list(self._stage.letters)

    def unaccounted(self) -> Found:
        """Return what was said and came to no end, and what nothing will bring to one.

        An end is: handled, parked or expired, at each service that it is for. What waits in a
        queue, an outbox or an inbox is on its way. Of a request whoever asked knows.
        """
        on_its_way = self._stage.on_its_way()
        lost = [
            fact
            for fact in self.facts(kind=FactKind.SENT)
            if fact.message_id not in on_its_way and not self._is_over(fact)
        ]
        return Found("message without an end", lost, self._instead(ALL))

    def _is_over(self, sent: Fact) -> bool:
        if sent.said_as == MessageKind.REQUEST:
            return True
        ended = {
            fact.service
            for fact in self._stage.facts
            if fact.message_id == sent.message_id and fact.kind in _ENDS
        }
        if sent.target:
            return sent.target in ended
        workers = self._stage.workers.values()
        return {w.name for w in workers if takes(w.communicator, sent.type)} <= ended

    def _found(self, kind: FactKind, type: str, filters: Mapping[str, Any]) -> Found:
        facts = self.facts(type, kind=kind, **filters)
        named = "".join(f" {name}={value!r}" for name, value in filters.items())
        what = "" if type == ALL else f" {type}"
        return Found(f"{kind}{what}{named}", facts, self._instead(type))

    def _instead(self, type: str) -> Callable[[], str]:
        def tell() -> str:
            facts = [fact for fact in self._stage.facts if fact.kind is not FactKind.PUBLISHED]
            about = [fact for fact in facts if _fits(fact, type, {})]
            others = [fact for fact in facts if fact.type not in INTERNAL]
            return told(about or others, [*self._stage.waiting(), *self._stage.faults.left()])

        return tell

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


def _fits(fact: Fact, type: str, filters: Mapping[str, Any]) -> bool:
    if type == ALL and fact.type in INTERNAL:
        return False
    if not (matches(type, fact.type) if fact.type else type == ALL):
        return False
    return all(_is(getattr(fact, name), wanted) for name, wanted in filters.items())


def _is(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(key in found and found[key] == value for key, value in wanted.items())
    return bool(found == wanted)
