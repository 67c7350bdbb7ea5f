"""What happened to messages, as the bus's own signals tell it: in tests as in workers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from django.dispatch import Signal

from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope
from messaging.errors import HandlerSignal
from messaging.events import (
    message_dead_lettered,
    message_expired,
    message_failed,
    message_handled,
    message_published,
    message_retry_scheduled,
)


class FactKind(StrEnum):
    """What happened."""

    #: A service has said it: the broker has it, or the outbox, committed.
    SENT = "sent"
    #: The broker has it, for the first time or again.
    PUBLISHED = "published"
    #: One attempt failed.
    FAILED = "failed"
    #: It is tried again later.
    RETRIED = "retried"
    #: A handler is done with it.
    HANDLED = "handled"
    #: It was given up, and is a dead letter.
    PARKED = "parked"
    #: It came too late.
    EXPIRED = "expired"
    #: The process that handled it died.
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that happened to one message."""

    #: What it was.
    kind: FactKind
    #: Who says so: the sender, or the service whose handler it is about.
    service: str
    #: The message's; empty where the body was none.
    message_id: str = ""
    #: The message's type.
    type: str = ""
    #: The service that said it.
    source: str = ""
    #: The service that it is for. Empty for events.
    target: str = ""
    #: A `MessageKind`.
    said_as: str = ""
    #: The name of a `MessagePriority`.
    priority: str = ""
    #: What the message says.
    data: Any = None
    #: Id of the message during whose handling it was sent.
    causation_id: str | None = None
    #: The same for a whole conversation.
    correlation_id: str = ""
    #: The attempt that failed or, of what is tried again, the next one.
    attempt: int = 1
    #: Of what is tried again: how long the pause is.
    delay_seconds: float | None = None
    #: Of what was parked: a `DeadLetterReason`.
    reason: str = ""
    #: Text for people, with the class of an exception before it.
    error: str = ""
    #: Virtual seconds since the test began.
    at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, for journals of other processes."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the fact that such an object describes."""
        known = {each.name: data[each.name] for each in fields(cls) if each.name in data}
        return cls(**{**known, "kind": FactKind(data["kind"])})


def fact_of(
    kind: FactKind, service: str, envelope: Envelope | None, at: float, **more: Any
) -> Fact:
    """Return a fact about a message; None: about something that was none."""
    if envelope is None:
        return Fact(kind=kind, service=service, at=at, **more)
    return Fact(
        **{
            "kind": kind,
            "service": service,
            "message_id": envelope.id,
            "type": envelope.type,
            "source": envelope.source,
            "target": envelope.target,
            "said_as": envelope.kind.value,
            "priority": envelope.priority.value,
            "data": envelope.data,
            "causation_id": envelope.causation_id,
            "correlation_id": envelope.correlation_id,
            "attempt": envelope.attempt,
            "at": at,
            **more,
        }
    )


@contextmanager
def recording(note: Callable[[Fact], None], now: Callable[[], float]) -> Iterator[None]:
    """Have every fact of this process told within the block.

    Args:
        note: called on the thread where it happened, before the bus goes on.
        now: the time that facts bear.
    """
    receivers = [(signal, _receiver(kind, note, now)) for signal, kind in _KINDS.items()]
    for signal, receiver in receivers:
        signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver)


def _receiver(
    kind: FactKind, note: Callable[[Fact], None], now: Callable[[], float]
) -> Callable[..., None]:
    def on_signal(
        sender: str,
        envelope: Envelope | None,
        error: BaseException | str = "",
        reason: DeadLetterReason | str = "",
        delay_seconds: float | None = None,
        **_: Any,
    ) -> None:
        note(
            fact_of(
                kind,
                sender,
                envelope,
                now(),
                error=_text(error),
                reason=str(reason),
                delay_seconds=delay_seconds,
            )
        )

    return on_signal


def _text(error: BaseException | str) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, HandlerSignal):
        return str(error)
    return f"{type(error).__name__}: {error}"


_KINDS: dict[Signal, FactKind] = {
    message_published: FactKind.PUBLISHED,
    message_failed: FactKind.FAILED,
    message_retry_scheduled: FactKind.RETRIED,
    message_handled: FactKind.HANDLED,
    message_dead_lettered: FactKind.PARKED,
    message_expired: FactKind.EXPIRED,
}
