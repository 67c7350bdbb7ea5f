"""Handling a message by its row in the inbox: once for each service, counted before it begins.

For whatever may come twice, or must not: messages under custody, handlers with ``atomic=True``,
copies that a relay published, and what a broker delivers again.
"""

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import Error

from messaging.attempts import GiveUp, Round, next_step, run_round
from messaging.custody import failed_rounds, inbox
from messaging.custody.arrival import ONLY_COPY, Arrival
from messaging.custody.begin import begin
from messaging.custody.inbox import Run
from messaging.custody.link import Link
from messaging.custody.receipts import Entry
from messaging.custody.run_groups import Expected
from messaging.custody.runs import RUNS
from messaging.custody.why_not import MustPark, NotRun
from messaging.database_threads import write_transaction
from messaging.deadletter import DeadLetterReason
from messaging.envelope import Envelope
from messaging.errors import LeaseLost, MessagingError
from messaging.events import (
    STUCK_AT,
    emit,
    message_expired,
    message_handled,
    message_retry_scheduled,
    message_stuck,
)
from messaging.handlers import Handler
from messaging.outcome import HANDLED, Outcome, settled
from messaging.retry import RetryPolicy

if TYPE_CHECKING:
    from messaging.communicator import ServiceCommunicator

logger = logging.getLogger(__name__)


class RecordedReceiver:
    """Handles messages of one service by the inbox.

    Raises what the database raises, and what parking does. The run is given back then, uncounted.
    """

    def __init__(self, communicator: "ServiceCommunicator") -> None:
        self._communicator = communicator
        self._bus = communicator.bus
        self._link = Link(communicator.bus)
        self._version = failed_rounds.version_text(communicator.identity.version)

    def receive(
        self,
        envelope: Envelope,
        arrival: Arrival,
        handler: Handler | None,
        expected: Expected | None,
    ) -> Outcome:
        """Handle one delivery.

        Args:
            envelope: the message.
            arrival: how it came.
            handler: None: nobody is there to do it, and it is parked.
            expected: what begins and ends its run together with others, if it may.
        """
        if expected is not None:
            begun = expected.begin()
        else:
            most = self._bus.config.max_worker_deaths
            begun = begin(envelope, self._communicator.name, arrival, most, self._version)
        if isinstance(begun, NotRun):
            if begun.is_over and self._bus.keyring.has_keys and arrival == ONLY_COPY:
                return self._park_copy(envelope, begun)
            return self._skip(envelope, begun)
        if isinstance(begun, MustPark):
            return self._park_unrun(envelope, begun)
        timeout = self._bus.config.handler_timeout_seconds
        if handler is not None and handler.timeout is not None:
            timeout = handler.timeout
        with RUNS.renewed(begun.token, envelope.id, timeout):
            try:
                return self._run(begun, handler, expected)
            except LeaseLost:
                # With atomic=True nothing of this run remains.
                may_be_twice = handler is not None and not handler.atomic
                text = "its effect may have happened twice" if may_be_twice else "it had no effect"
                logger.warning("run of %s %s lost its lease; %s", envelope.type, envelope.id, text)
                # Under custody the row has the payload and goes its way. Otherwise only the broker
                # is sure to have it, and asks again: what was handled meanwhile is not run.
                return Outcome(envelope.custodian is not None, f"it lost its lease; {text}")
            except (Error, MessagingError):
                # The end of it, or its dead letter, could not be put on record.
                RUNS.broken_off(begun.token, begun.row_id)
                raise

    def _run(self, run: Run, handler: Handler | None, expected: Expected | None) -> Outcome:
        envelope = run.envelope
        if handler is None:
            text = f"{run.service} has no handler for {envelope.type!r}"
            return self._give_up(run, None, GiveUp(reason=DeadLetterReason.NO_HANDLER, error=text))
        policy = handler.policy(envelope)
        ended = run_round(
            envelope,
            partial(self._atomically, run, handler) if handler.atomic else handler.call,
            policy,
            service=run.service,
            clock=self._bus.clock,
            attempts=run.attempts,
        )
        if ended.error is None:
            if expected is not None and not handler.atomic:
                expected.end(run, ended.seconds)
                return HANDLED
            if not handler.atomic:
                inbox.done(run)  # outside of the round: where it fails, the handler did not
            emit(message_handled, run.service, envelope=envelope, seconds=ended.seconds)
            return HANDLED
        step = next_step(ended.error, policy, run.attempts + ended.tries)
        if isinstance(step, GiveUp):
            return self._give_up(run, ended, step, policy.most)
        return self._later(run, ended, step.delay_seconds, policy)

    def _atomically(self, run: Run, handler: Handler, message: Envelope) -> Any:
        with write_transaction():
            answer = handler.call(message)
            inbox.done(run, copies=answer if handler.is_fan_out else None)
        return answer

    def _later(self, run: Run, ended: Round, delay_seconds: float, policy: RetryPolicy) -> Outcome:
        assert ended.error is not None
        attempts = run.attempts + ended.tries
        with write_transaction(to_disk=False):
            inbox.fail(
                run, tries=ended.tries, delay_seconds=delay_seconds, error=repr(ended.error)
            )
            self._note(run, ended, policy.most)
        again = run.envelope.next_attempt(attempts + 1)
        emit(message_retry_scheduled, run.service, envelope=again, delay_seconds=delay_seconds)
        if run.attempts < STUCK_AT <= attempts:
            emit(message_stuck, run.service, envelope=again, tries=attempts)
        return settled(ended.error)

    def _give_up(
        self, run: Run, ended: Round | None, step: GiveUp, most: int | None = None
    ) -> Outcome:
        """Park: the row's end and the dead letter in one transaction. None: nothing was tried."""
        tries = ended.tries if ended else 0
        with write_transaction():
            inbox.park(run, tries=tries, error=_text(step.error))
            self._communicator.parking.park(
                run.envelope, step.reason, step.error, attempts=run.attempts + tries
            )
            if ended is not None:
                self._note(run, ended, most)
        return settled(step.error)

    def _note(self, run: Run, ended: Round, most: int | None) -> None:
        assert ended.error is not None
        failed_rounds.note(
            run.envelope,
            run.service,
            attempts=run.attempts,
            tries=ended.tries,
            seconds=ended.seconds,
            error=ended.error,
            version=self._communicator.identity.version,
            most=most,
        )

    def _park_unrun(self, envelope: Envelope, wanted: MustPark) -> Outcome:
        is_expired = wanted.reason is DeadLetterReason.EXPIRED
        with write_transaction():
            parked = inbox.park_unrun(
                envelope,
                self._communicator.name,
                error=wanted.error,
                expired=is_expired and not wanted.may_have_been_handled,
            )
            if parked:
                self._communicator.parking.park(
                    envelope,
                    wanted.reason,
                    wanted.error,
                    attempts=wanted.attempts,
                    may_have_been_handled=wanted.may_have_been_handled,
                )
        if is_expired:
            emit(message_expired, self._communicator.name, envelope=envelope)
        return settled(wanted.error)

    def _park_copy(self, envelope: Envelope, why: NotRun) -> Outcome:
        """Park what was signed once and came twice, though its sender sent it once."""
        text = (
            f"{why.why}, and sent again: by somebody who had seen it, or by its sender's "
            "connection, which broke"
        )
        self._communicator.parking.park(
            envelope,
            DeadLetterReason.BAD_SIGNATURE,
            text,
            attempts=0,
            may_have_been_handled=True,
        )
        return settled(text)

    def _skip(self, envelope: Envelope, why: NotRun) -> Outcome:
        logger.debug("%s %s: %s", envelope.type, envelope.id, why.why)
        if why.answer and envelope.custodian:
            entry = Entry(envelope.id, envelope.generation, why.answer)
            self._link.tell(envelope.custodian, self._communicator.name, [entry])
        return HANDLED


def make_copies(communicator: "ServiceCommunicator", envelope: Envelope) -> int:
    """Answer for one copy of a broadcast for each subscriber; return how many there are.

    In the caller's transaction: all of them or none, for who is subscribed at that instant.
    """
    assert communicator.subscribers_of is not None
    subscribers = communicator.subscribers_of(envelope.type)
    for service in subscribers:
        copy = envelope.for_subscriber(service, custodian=communicator.name)
        communicator.bus.dispatch.send(copy, delay=None, may_repeat=True)
    return len(subscribers)


def _text(error: BaseException | str) -> str:
    return error if isinstance(error, str) else f"{type(error).__name__}: {error}"
