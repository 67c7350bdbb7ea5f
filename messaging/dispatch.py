"""Where a message that is sent goes: to the broker, to the outbox, or to one after the other."""

import atexit
from typing import TYPE_CHECKING, Final

from django.db import DatabaseError, transaction

from messaging.context import current_message
from messaging.database_threads import (
    close_database,
    off_the_event_loop,
    on_event_loop,
)
from messaging.envelope import Envelope, MessageKind, MessagePriority
from messaging.errors import BrokerError, PublishError, PublishUncertain
from messaging.send_limits import SendLimits

if TYPE_CHECKING:
    from messaging.bus import MessageBus
    from messaging.custody.handoff import Handoff

#: Priorities whose messages wait in the database when the broker cannot take them.
KEPT_WITHOUT_BROKER: Final = frozenset(
    {MessagePriority.NORMAL, MessagePriority.HIGH, MessagePriority.CRITICAL}
)
#: A process that ends waits so long for what it has just accepted; the rest is a relay's.
FLUSH_SECONDS: Final = 5.0


class Dispatch:
    """Sends the commands and events of one process. Thread-safe; safe across forks."""

    def __init__(self, bus: "MessageBus") -> None:
        self._bus = bus
        self._started_handoff: Handoff | None = None
        #: How much may be sent, and waits for whom.
        self.limits = SendLimits(bus)

    def send(self, envelope: Envelope, *, delay: float | None, may_repeat: bool) -> str:
        """Send a message; see `ServiceCommunicator.send_to_service`. Return its id.

        Args:
            envelope: the message; under custody if it names a custodian.
            delay: seconds until it is published.
            may_repeat: whether it may have been sent before under the same id.

        Raises:
            QueueFull: too many wait for its target. NOT sent; what an outbox keeps is.
        """
        if envelope.custodian is not None:
            self._accept(envelope, delay)
        elif delay:
            self._store(envelope, delay, "")
        else:
            publishes = int(may_repeat)
            try:
                self.limits.check_queue(envelope)
                if self._needs_no_wait(envelope):
                    self._bus.publish_without_wait(envelope, publishes=publishes)
                else:
                    self._bus.publish(envelope, publishes=publishes)
            except (BrokerError, PublishUncertain) as exc:
                if envelope.priority not in KEPT_WITHOUT_BROKER:
                    raise
                # The same id goes out again: a copy that did arrive can be recognised.
                self._store(envelope, 0.0, str(exc))
        return envelope.id

    def keep(self, envelope: Envelope, error: str) -> None:
        """Store a message that may not have reached the broker; a relay publishes it again.

        For threads of the library: in a caller's transaction it could be rolled back.

        Raises:
            PublishError: the database did not take it.
        """
        try:
            self._store(envelope, 0.0, error)
        finally:
            close_database()

    def flush(self, timeout_seconds: float = FLUSH_SECONDS) -> bool:
        """Wait for what was sent or accepted to be published; False: a relay does the rest."""
        is_confirmed = self._bus.flush(timeout_seconds)
        if self._started_handoff is None:
            return is_confirmed
        return self._started_handoff.flush(timeout_seconds) and is_confirmed

    def _needs_no_wait(self, envelope: Envelope) -> bool:
        """Return whether a message may be confirmed after its sender has gone on.

        Not inside handlers: what they send must have arrived before they count as done. Not LOW,
        whose sender alone can send it again; not HIGH, to which a round trip is worth certainty.
        """
        return (
            self._bus.profile.confirms_later
            and envelope.priority is MessagePriority.NORMAL
            and current_message() is None
        )

    @property
    def handoff(self) -> "Handoff":
        """The thread that publishes what is claimed for it."""
        if self._started_handoff is None:
            self._started_handoff = self._start_handoff()
        return self._started_handoff

    def _start_handoff(self) -> "Handoff":
        from messaging.custody.handoff import Handoff  # Django's models load late

        # Threads of a process that ends are stopped wherever they are.
        atexit.register(self.flush)
        return Handoff(self._bus)

    def _accept(self, envelope: Envelope, delay: float | None) -> None:
        """Take custody: a row in the caller's transaction, published once that is committed.

        Where its target is known to be down the row is held instead.
        """
        from messaging.custody import held, outbox

        body = self._encode(envelope)
        # An event goes to the gateway, which makes a copy for each subscriber.
        is_event = envelope.kind is MessageKind.EVENT and not envelope.target
        to = self._bus.config.gateway_name if is_event else envelope.target
        if envelope.ordering_key is not None:
            self._queue_up(envelope, to, body)
            return
        if not delay and self._is_down(to):
            outbox.store(
                envelope,
                to=to,
                body=body,
                delay_seconds=held.HOLD_SECONDS,
                error=held.why(to),
                under_custody=True,
                held=True,
            )
            return
        is_new = outbox.store(
            envelope,
            to=to,
            body=body,
            # With more than the handoff can take, some are due for a relay at once.
            delay_seconds=delay or (outbox.CLAIM_SECONDS if self.handoff.has_room else 0.0),
            under_custody=True,
        )
        # What was there before is published as it was said then, whatever has the same id now.
        if delay or not is_new:
            return
        key = outbox.Key(envelope.id, to, envelope.generation)
        if on_event_loop():
            self.handoff.give(key, envelope, body)  # committed by itself
        else:
            handoff = self.handoff
            transaction.on_commit(lambda: handoff.give(key, envelope, body), robust=True)

    def _queue_up(self, envelope: Envelope, to: str, body: str) -> None:
        """Take custody of what goes out when all before it of its ordering key is at its end."""
        from messaging.custody import ordering, outbox

        publisher = None if self._is_down(to) else self.handoff
        if not outbox.store(envelope, to=to, body=body, under_custody=True, queued=True):
            return
        sequence = ordering.Sequence(to, envelope.ordering_key or "")

        def go_on() -> None:
            ordering.go_on([sequence], publisher)

        if on_event_loop():
            off_the_event_loop(go_on)  # committed by itself
        else:
            transaction.on_commit(go_on, robust=True)

    def _is_down(self, target: str) -> bool:
        try:
            return self._bus.down.includes(target)
        except DatabaseError as exc:
            raise PublishError(f"it is not known whether {target} is down: {exc}") from exc

    def _store(self, envelope: Envelope, delay: float, error: str) -> None:
        from messaging.custody import outbox

        body = self._encode(envelope)
        outbox.store(envelope, body=body, delay_seconds=delay, error=error)

    def _encode(self, envelope: Envelope) -> str:
        """Fail here, not in a relay later."""
        return self._bus.encode(envelope)
