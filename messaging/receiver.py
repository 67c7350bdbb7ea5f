"""What a service does with one delivered envelope, from the first look to the answer."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from messaging import outbox
from messaging.answers import error_reply_to, reply_to
from messaging.context import handling
from messaging.envelope import Envelope, MessageKind, utc_now
from messaging.errors import CodecError, Reject, Retry, Unroutable
from messaging.events import (
    emit,
    message_expired,
    message_failed,
    message_handled,
    message_retry_scheduled,
)
from messaging.handlers import Handler
from messaging.parking import DeadLetterReason
from messaging.registration import PERISHABLE

if TYPE_CHECKING:
    from messaging.communicator import ServiceCommunicator

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery ended, for the worker to settle."""

    #: True: the broker may forget it. False: it must deliver it again.
    is_settled: bool
    #: Text of the error, if it was not handled.
    error: str = ""


HANDLED = Outcome(is_settled=True)


class Receiver:
    """Hands envelopes to the handlers of one service and sees to what follows.

    Every delivery ends in one of: handled (and answered), a retry on record, a dead letter, an
    expired request nobody waits for, or `Outcome.is_settled` False: then nothing of it is on
    record yet and the broker must keep it. `receive` itself never raises.
    """

    def __init__(self, communicator: "ServiceCommunicator") -> None:
        self._communicator = communicator

    def receive(self, envelope: Envelope) -> Outcome:
        """Handle one delivery. Runs handlers in the calling thread."""
        try:
            return self._dispatch(envelope)
        except Exception as exc:
            # The record of a failure could not be written (broker and database away): the broker
            # keeps the message.
            logger.exception("%s %s could not be settled", envelope.type, envelope.id)
            return Outcome(is_settled=False, error=f"{type(exc).__name__}: {exc}")

    def _dispatch(self, envelope: Envelope) -> Outcome:
        if envelope.is_expired(utc_now()):
            return self._expire(envelope)
        handler = self._communicator.bus.handlers.find(envelope.type)
        if handler is None:
            return self._without_handler(envelope)
        with handling(envelope):
            return self._attempt(envelope, handler)

    def _attempt(self, envelope: Envelope, handler: Handler) -> Outcome:
        """Try in place until it works or the round of attempts is over."""
        policy = handler.policy(envelope)
        clock = self._communicator.bus.clock
        while True:
            began = clock.monotonic()
            try:
                answer = handler.call(envelope)
            except Reject as exc:
                return self._reject(envelope, exc)
            except Retry as exc:
                return self._retry_later(envelope, handler, exc, exc.delay_seconds)
            except (Exception, SystemExit) as exc:
                emit(message_failed, self._communicator.name, envelope=envelope, error=exc)
                if envelope.kind is MessageKind.REQUEST:
                    return self._answer_error(envelope, exc)
                logger.warning(
                    "%s %s: attempt %d failed: %r",
                    envelope.type,
                    envelope.id,
                    envelope.attempt,
                    exc,
                    exc_info=exc,
                )
                if policy.ends_round(envelope.attempt):
                    return self._retry_later(envelope, handler, exc, None)
                envelope = envelope.next_attempt(envelope.attempt + 1)
            else:
                return self._finish(envelope, answer, clock.monotonic() - began)

    def _retry_later(
        self, envelope: Envelope, handler: Handler, error: BaseException, wanted: float | None
    ) -> Outcome:
        """Put the next round on record as a row that falls due, or give up."""
        if envelope.kind is MessageKind.REQUEST:
            return self._answer_error(envelope, error)
        delay = handler.policy(envelope).delay_after(envelope.attempt)
        if delay is None:
            return self._park(envelope, DeadLetterReason.ATTEMPTS_EXHAUSTED, error)
        delay = delay if wanted is None else wanted
        again = envelope.next_attempt(envelope.attempt + 1)
        outbox.store(again, to=self._communicator.name, delay_seconds=delay, error=repr(error))
        emit(
            message_retry_scheduled,
            self._communicator.name,
            envelope=again,
            delay_seconds=delay,
        )
        return Outcome(is_settled=True, error=f"{type(error).__name__}: {error}")

    def _reject(self, envelope: Envelope, error: Reject) -> Outcome:
        if envelope.kind is MessageKind.REQUEST:
            return self._answer_error(envelope, error)
        return self._park(envelope, DeadLetterReason.REJECTED, error.reason)

    def _park(
        self, envelope: Envelope, reason: DeadLetterReason, error: BaseException | str
    ) -> Outcome:
        self._communicator.parking.park(envelope, reason, error)
        return Outcome(is_settled=True, error=str(error))

    def _expire(self, envelope: Envelope) -> Outcome:
        emit(message_expired, self._communicator.name, envelope=envelope)
        text = f"expired at {envelope.expires_at}"
        if envelope.kind is MessageKind.REQUEST or envelope.type in PERISHABLE:
            # Nobody waits for it any more; its sender has RequestTimeout on record.
            logger.info("%s %s %s", envelope.type, envelope.id, text)
            return Outcome(is_settled=True, error=text)
        return self._park(envelope, DeadLetterReason.EXPIRED, text)

    def _without_handler(self, envelope: Envelope) -> Outcome:
        text = f"{self._communicator.name} has no handler for {envelope.type!r}"
        if envelope.kind is MessageKind.EVENT:
            # Not subscribed: a binding of an older version, or one that Redis matched too widely.
            logger.debug("%s: ignored", text)
            return HANDLED
        if envelope.kind is MessageKind.REQUEST:
            return self._answer_error(envelope, LookupError(text))
        return self._park(envelope, DeadLetterReason.NO_HANDLER, text)

    def _finish(self, envelope: Envelope, answer: Any, seconds: float) -> Outcome:
        if envelope.reply_to is not None and not self._communicator.was_answered(envelope):
            try:
                self._reply(envelope, reply_to(envelope, self._communicator.name, answer))
            except CodecError as exc:
                return self._answer_error(envelope, exc)
        emit(message_handled, self._communicator.name, envelope=envelope, seconds=seconds)
        return HANDLED

    def _answer_error(self, envelope: Envelope, error: BaseException) -> Outcome:
        logger.warning("%s %s failed: %r", envelope.type, envelope.id, error, exc_info=error)
        if envelope.reply_to is not None and not self._communicator.was_answered(envelope):
            self._reply(envelope, error_reply_to(envelope, self._communicator.name, error))
        return Outcome(is_settled=True, error=f"{type(error).__name__}: {error}")

    def _reply(self, envelope: Envelope, reply: Envelope) -> None:
        """Send a reply; a requester that is gone is no error of the handler's."""
        assert envelope.reply_to is not None
        try:
            self._communicator.bus.reply(reply, envelope.reply_to)
        except Unroutable:
            logger.info("%s %s: the requester is gone", envelope.type, envelope.id)
