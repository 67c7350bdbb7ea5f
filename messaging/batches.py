"""Publishing many copies at a time: one wait for all confirms, or one transaction.

For who has the messages on record and may publish a copy again: outbox and inbox.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from messaging.envelope import Envelope
from messaging.errors import (
    BrokerError,
    BrokerRecovering,
    MessagingError,
    PartlyRefused,
    PublishUncertain,
)
from messaging.events import emit, message_published
from messaging.held_connection import text_of
from messaging.late_confirms import LateConfirms
from messaging.publisher import Publisher
from messaging.publisher_pool import PublisherPool

if TYPE_CHECKING:
    from messaging.bus import MessageBus

logger = logging.getLogger(__name__)


class Copy(NamedTuple):
    """One copy of a message that is on record."""

    envelope: Envelope
    #: The envelope as it was encoded once; it is signed.
    body: str
    #: The service whose queue gets it; None: whoever the envelope names.
    to: str | None
    #: How often it is published, this time included: from 1.
    publishes: int


def is_away(error: MessagingError | None) -> bool:
    """Return whether an error makes publishing the rest of a batch pointless."""
    return has_broker_failed(error) and not isinstance(error, BrokerRecovering)


def has_broker_failed(error: MessagingError | None) -> bool:
    """Return whether what went wrong is no fault of the message's own, or of its queue's."""
    if isinstance(error, PartlyRefused):
        return False
    return isinstance(error, BrokerError | PublishUncertain)


class BatchPublisher:
    """Publishes copies for a bus. Thread-safe; safe across forks.

    Args:
        bus: whose publishers, names and profile are used.
        open_late: makes a publisher whose channels do not wait for confirms.
    """

    def __init__(
        self, bus: "MessageBus", open_late: Callable[[Callable[[Any], None]], Publisher]
    ) -> None:
        self._bus = bus
        seconds = bus.config.broker_timeout_seconds
        self._late: PublisherPool[LateConfirms[int]] = PublisherPool(
            lambda: LateConfirms(open_late, seconds), seconds
        )

    def publish(self, copies: Sequence[Copy]) -> list[MessagingError | None]:
        """Publish copies in this order; see `MessageBus.publish_all`."""
        done = set(self._together(copies)) if len(copies) > 1 else set()
        outcomes: list[MessagingError | None] = []
        away: MessagingError | None = None
        for number, copy in enumerate(copies):
            if number in done:
                emit(message_published, copy.envelope.source, envelope=copy.envelope)
                outcomes.append(None)
                continue
            error = away or self._alone(copy)
            if is_away(error):
                away = error
            outcomes.append(error)
        return outcomes

    def close(self) -> None:
        """Close the idle connections."""
        self._late.close()

    def _alone(self, copy: Copy) -> MessagingError | None:
        try:
            self._bus.publish(copy.envelope, to=copy.to, publishes=copy.publishes)
        except MessagingError as exc:
            return exc
        except Exception as exc:
            # Whatever it is, the others have been sent, and that must be put on record.
            logger.exception("%s %s: publishing failed", copy.envelope.type, copy.envelope.id)
            error = MessagingError(f"publishing failed: {text_of(exc)}")
            error.__cause__ = exc
            return error
        return None

    def _together(self, copies: Sequence[Copy]) -> Iterable[int]:
        """Publish what can be; return the numbers of those that the broker is sure to have.

        Whatever goes wrong shows again, at the copy that it happens to, when the others are
        published one by one.
        """
        try:
            if self._bus.profile.confirms_later:
                return self._confirmed_later(copies)
            if self._bus.profile.has_batches:
                return self._in_one_transaction(copies)
        except MessagingError as exc:
            logger.debug("a batch of %d goes one by one: %s", len(copies), exc)
        except Exception:
            logger.exception("a batch of %d goes one by one", len(copies))
        return ()

    def _confirmed_later(self, copies: Sequence[Copy]) -> Iterable[int]:
        addressed = [self._bus.addressed(copy) for copy in copies]
        with self._late.publisher() as late:
            try:
                for number, each in enumerate(addressed):
                    with contextlib.suppress(BrokerRecovering):  # as it says again when alone
                        late.publish(number, each)
                late.wait()
                return tuple(late.confirmed)
            finally:
                if len(late):
                    late.drop("not waited for")  # its confirms must not count for another batch
                late.confirmed.clear()
                late.failed.clear()

    def _in_one_transaction(self, copies: Sequence[Copy]) -> Iterable[int]:
        with self._bus.publisher() as publisher, publisher.together():
            for copy in copies:
                publisher.publish(self._bus.addressed(copy))
        return range(len(copies))
