"""What a test asks of its messages: what was said, and what became of it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from messaging.deadletter import DeadLetter, DeadLetterReason
from messaging.envelope import MessageKind
from messaging.patterns import matches
from messaging.registration import INTERNAL
from messaging.testing.facts import Fact, FactKind
from messaging.testing.found import Found, told
from messaging.testing.gateway import takes
from messaging.testing.stage import Stage

#: Every type but the library's own.
ALL: Final = "#"
_ENDS: Final = (FactKind.HANDLED, FactKind.PARKED, FactKind.EXPIRED)


class Questions:
    """The half of a harness that asks. Answers are of the instant; nothing is delivered for them.

    Args:
        stage: where it all happens.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

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
