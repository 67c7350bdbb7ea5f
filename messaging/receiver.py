"""What a service does with one delivered envelope, from the first look to the answer."""

import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, Error, connection

from messaging.answers import error_reply_to, reply_to
from messaging.attempts import GiveUp, next_step, run_round
from messaging.context import handling
from messaging.custody.arrival import Arrival
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope, MessageKind, utc_now
from messaging.errors import (
    CodecError,
    DeliveryError,
    HandlerSignal,
    MessagingError,
    NoHandler,
    Unroutable,
)
from messaging.events import (
    emit,
    message_expired,
    message_failed,
    message_handled,
    message_retry_scheduled,
)
from messaging.handlers import Handler, fan_out_handler
from messaging.once import is_recorded, may_be_ignored, why_not_new
from messaging.outcome import HANDLED, Outcome, settled
from messaging.registration import PERISHABLE

if TYPE_CHECKING:
    from messaging.communicator import ServiceCommunicator
    from messaging.custody.run_groups import Expected, RunGroups
    from messaging.recorded import RecordedReceiver

logger = logging.getLogger(__name__)


class Receiver:
    """Hands envelopes to the handlers of one service and sees to what follows.

    Every delivery ends in one of: handled (and answered), a retry on record, a dead letter, a copy
    that somebody else answers for, an expired request nobody waits for, or `Outcome.is_settled`
    False: then nothing of it is on record yet and the broker must keep it. `receive` itself never
    raises.
    """

    def __init__(self, communicator: "ServiceCommunicator") -> None:
        self._communicator = communicator
        self._is_signed = communicator.bus.keyring.has_keys
        self._has_spans = bool(communicator.bus.config.telemetry)

    def receive(
        self, envelope: Envelope, arrival: Arrival, expected: "Expected | None" = None
    ) -> Outcome:
        """Handle one delivery. Runs handlers in the calling thread.

        Args:
            envelope: the message.
            arrival: how it came.
            expected: what begins and ends its run together with others, if it may.
        """
        try:
            with handling(envelope):
                if self._has_spans:
                    return self._traced(envelope, arrival, expected)
                return self._dispatch(envelope, arrival, expected)
        except Exception as exc:
            # The record of what happened could not be written (broker and database away): the
            # broker keeps the message.
            logger.exception("%s %s could not be settled", envelope.type, envelope.id)
            if isinstance(exc, Error) or isinstance(exc.__cause__, Error):
                connection.close()  # the next message of this thread gets a sound one
            return Outcome(is_settled=False, error=f"{type(exc).__name__}: {exc}")

    def expect(
        self, groups: "RunGroups", envelope: Envelope, arrival: Arrival
    ) -> "Expected | None":
        """Have a delivery begin together with others, if it has a run; see `RunGroups.expect`."""
        if may_be_ignored(envelope) and not self._handler_for(envelope):
            return None
        return groups.expect(envelope, arrival)

    def speak_for(self, health: Mapping[str, Any]) -> None:
        """Have health checks answered with this, from now on: in a child of the worker."""
        self._communicator.presence.told = health

    def _traced(
        self, envelope: Envelope, arrival: Arrival, expected: "Expected | None"
    ) -> Outcome:
        with self._communicator.spans.handling(envelope) as span:
            outcome = self._dispatch(envelope, arrival, expected)
            if span is not None and outcome.error:
                span.fail(outcome.error)
            return outcome

    def _dispatch(
        self, envelope: Envelope, arrival: Arrival, expected: "Expected | None"
    ) -> Outcome:
        if envelope.kind is MessageKind.REQUEST:
            return self._request(envelope, arrival)
        handler = self._handler_for(envelope)
        if handler is None and may_be_ignored(envelope):
            # Not subscribed: a binding of an older version, or one that Redis matched too widely.
            logger.debug("no handler for %s %s: ignored", envelope.type, envelope.id)
            return HANDLED
        if is_recorded(envelope, arrival, handler, is_signed=self._is_signed):
            return self._recorded.receive(envelope, arrival, handler, expected)
        if envelope.is_expired(utc_now()):
            return self._expire(envelope)
        if handler is None:
            return self._without_handler(envelope)
        if envelope.type in PERISHABLE:
            return self._handle_perishable(envelope, handler)
        return self._handle(envelope, handler)

    @functools.cached_property
    def _recorded(self) -> "RecordedReceiver":
        from messaging.recorded import RecordedReceiver  # Django's models load late

        return RecordedReceiver(self._communicator)

    def _handler_for(self, envelope: Envelope) -> Handler | None:
        is_whole_broadcast = envelope.kind is MessageKind.EVENT and not envelope.target
        if is_whole_broadcast and envelope.custodian and self._communicator.subscribers_of:
            return self._fan_out
        return self._communicator.bus.handlers.find(envelope.type)

    @functools.cached_property
    def _fan_out(self) -> Handler:
        from messaging.recorded import make_copies

        return fan_out_handler(functools.partial(make_copies, self._communicator))

    def _handle(self, envelope: Envelope, handler: Handler) -> Outcome:
        """Handle what comes once: nothing is written unless it fails."""
        from messaging.custody import failed_rounds, inbox
        from messaging.database_threads import write_transaction

        service, policy = self._communicator.name, handler.policy(envelope)
        ended = run_round(
            envelope,
            handler.call,
            policy,
            service=service,
            clock=self._communicator.bus.clock,
            attempts=envelope.attempt - 1,
        )
        if ended.error is None:
            emit(message_handled, service, envelope=envelope, seconds=ended.seconds)
            return HANDLED
        attempts = envelope.attempt - 1 + ended.tries
        step = next_step(ended.error, policy, attempts)
        if isinstance(step, GiveUp):
            return self._park(envelope, step.reason, step.error, attempts)
        with write_transaction(to_disk=False):
            inbox.keep_failed(
                envelope,
                service,
                tries=attempts,
                delay_seconds=step.delay_seconds,
                error=repr(ended.error),
            )
            failed_rounds.note(
                envelope,
                service,
                attempts=envelope.attempt - 1,
                tries=ended.tries,
                seconds=ended.seconds,
                error=ended.error,
                version=self._communicator.identity.version,
                most=policy.most,
            )
        emit(
            message_retry_scheduled,
            service,
            envelope=envelope.next_attempt(attempts + 1),
            delay_seconds=step.delay_seconds,
        )
        return settled(ended.error)

    def _handle_perishable(self, envelope: Envelope, handler: Handler) -> Outcome:
        """Handle what the next of its kind replaces: one attempt, and nothing of it is kept."""
        clock = self._communicator.bus.clock
        began = clock.monotonic()
        try:
            handler.call_in_transaction(envelope)
        except (Exception, SystemExit) as exc:
            emit(message_failed, self._communicator.name, envelope=envelope, error=exc)
            _log_failure(envelope, exc)
            if isinstance(exc, DatabaseError):
                connection.close()  # the next message of this thread gets a sound one
            return settled(exc)
        seconds = clock.monotonic() - began
        emit(message_handled, self._communicator.name, envelope=envelope, seconds=seconds)
        return HANDLED

    def _request(self, envelope: Envelope, arrival: Arrival) -> Outcome:
        """Handle a request: one attempt, and the answer or error goes back. Nothing is kept."""
        if envelope.is_expired(utc_now()):
            return self._expire(envelope)
        if self._is_signed:
            refused = self._refused(envelope, arrival)
            if refused is not None:
                return refused
        handler = self._communicator.bus.handlers.find(envelope.type)
        if handler is None:
            text = f"{self._communicator.name} has no handler for {envelope.type!r}"
            return self._answer_error(envelope, NoHandler(text))
        clock = self._communicator.bus.clock
        began = clock.monotonic()
        try:
            answer = handler.call_in_transaction(envelope)
        except (Exception, SystemExit) as exc:
            emit(message_failed, self._communicator.name, envelope=envelope, error=exc)
            return self._answer_error(envelope, exc)
        return self._answer(envelope, answer, clock.monotonic() - began)

    def _refused(self, envelope: Envelope, arrival: Arrival) -> Outcome | None:
        """Refuse a signed request that is not new."""
        service = self._communicator.name
        why = why_not_new(envelope, service)
        if why is None:
            return None
        if arrival.redelivered:
            text = f"a worker of {service} died while it handled this; whether it did is unknown"
            return self._answer_error(envelope, DeliveryError(text))
        return self._park(envelope, DeadLetterReason.BAD_SIGNATURE, why, 0)

    def _park(
        self,
        envelope: Envelope,
        reason: DeadLetterReason,
        error: BaseException | str,
        attempts: int,
    ) -> Outcome:
        self._communicator.parking.park(envelope, reason, error, attempts=attempts)
        return settled(error)

    def _expire(self, envelope: Envelope) -> Outcome:
        emit(message_expired, self._communicator.name, envelope=envelope)
        text = f"expired at {envelope.expires_at}"
        if envelope.kind is MessageKind.REQUEST or envelope.type in PERISHABLE:
            # Nobody waits for it any more; its sender has RequestTimeout on record.
            logger.info("%s %s %s", envelope.type, envelope.id, text)
            return settled(text)
        return self._park(envelope, DeadLetterReason.EXPIRED, text, 0)

    def _without_handler(self, envelope: Envelope) -> Outcome:
        text = f"{self._communicator.name} has no handler for {envelope.type!r}"
        if envelope.type in PERISHABLE:
            logger.warning("%s dropped: %s", envelope.id, text)
            return settled(text)
        return self._park(envelope, DeadLetterReason.NO_HANDLER, text, 0)

    def _answer(self, envelope: Envelope, answer: Any, seconds: float) -> Outcome:
        if envelope.reply_to is not None and not self._communicator.was_answered(envelope):
            try:
                self._reply(envelope, reply_to(envelope, self._communicator.name, answer))
            except CodecError as exc:
                return self._answer_error(envelope, exc)
        emit(message_handled, self._communicator.name, envelope=envelope, seconds=seconds)
        return HANDLED

    def _answer_error(self, envelope: Envelope, error: BaseException) -> Outcome:
        _log_failure(envelope, error)
        if envelope.reply_to is not None and not self._communicator.was_answered(envelope):
            self._reply(envelope, error_reply_to(envelope, self._communicator.name, error))
        return settled(error)

    def _reply(self, envelope: Envelope, reply: Envelope) -> None:
        """Send a reply; a requester that is gone is no error of the handler's."""
        assert envelope.reply_to is not None
        try:
            self._communicator.bus.round_trips.reply(reply, envelope.reply_to)
        except Unroutable:
            logger.info("%s %s: the requester is gone", envelope.type, envelope.id)


def _log_failure(envelope: Envelope, error: BaseException) -> None:
    # What is said on purpose, by the bus or by a handler, needs no traceback.
    is_expected = isinstance(error, MessagingError | HandlerSignal)
    # Whoever asked is told, and has it in its own log.
    is_told = envelope.kind is MessageKind.REQUEST and is_expected
    logger.log(
        logging.INFO if is_told else logging.WARNING,
        "%s %s failed: %r",
        envelope.type,
        envelope.id,
        error,
        exc_info=None if is_expected else error,
    )
