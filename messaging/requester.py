"""Asking another service and waiting for its answer."""

import asyncio
import logging
import queue
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from messaging.answers import error_from
from messaging.clock import SYSTEM_CLOCK
from messaging.compose import Composer, seconds_left
from messaging.envelope import Envelope, MessageKind, MessagePriority
from messaging.errors import BrokerUnavailable, MessagingError, PublishUncertain, RequestTimeout
from messaging.forking import after_fork
from messaging.registration import INTERNAL
from messaging.replies import Outcome, ReplyQueue

if TYPE_CHECKING:
    from messaging.bus import MessageBus

logger = logging.getLogger(__name__)

#: Threads that send the requests of event loops, where each waits for a round trip. Else there is
#: one: the embedded broker takes one writer at a time, RabbitMQ's pipeline one message, and a
#: thread that was at work a moment ago wakes faster than one of several that take turns.
SENDERS: Final = 8


class Requester:
    """Sends the requests of one service and hands out the answers. Thread-safe."""

    def __init__(self, bus: "MessageBus", composer: Composer, service: str) -> None:
        self._bus = bus
        self._composer = composer
        self._replies = ReplyQueue(bus, service)
        self._begin()
        self._fork_token = after_fork(self._begin)

    def compose(
        self,
        target: str,
        message_type: str,
        data: Any,
        *,
        timeout: float | None,
        priority: MessagePriority | str,
        correlation_id: str | None,
        headers: Mapping[str, Any] | None,
    ) -> tuple[Envelope, float]:
        """Return a request and the seconds to wait for its answer.

        Raises:
            RequestTimeout: the caller's own caller waits no longer. NOT sent.
            TooManyMessages: this process sends more than it may. NOT sent.
            ValueError: a name, priority or duration is not valid.
        """
        wanted = self._bus.config.request_timeout_seconds if timeout is None else timeout
        seconds = seconds_left(wanted)
        if seconds <= 0 < wanted:
            raise RequestTimeout(target, message_type, 0.0)
        if message_type not in INTERNAL:
            self._bus.dispatch.limits.check_rate()
        envelope = self._composer.compose(
            MessageKind.REQUEST,
            message_type,
            data,
            target=target,
            priority=priority,
            expires_in=seconds,
            correlation_id=correlation_id,
            headers=headers,
            reply_to=self._replies.name,
        )
        return envelope, seconds

    def ask(self, envelope: Envelope, seconds: float) -> Any:
        """Send a request and block until its answer; see `ServiceCommunicator.request`."""
        ends_at = SYSTEM_CLOCK.monotonic() + seconds
        told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._replies.expect(envelope, told.put)
        try:
            self._replies.open()
            self._publish(envelope)
            left = max(0.0, ends_at - SYSTEM_CLOCK.monotonic())
            return answer_of(told.get(timeout=left))
        except queue.Empty:
            raise RequestTimeout(envelope.target, envelope.type, seconds) from None
        finally:
            self._replies.forget(envelope.id)

    async def ask_async(self, envelope: Envelope, seconds: float) -> Any:
        """Send a request and await its answer; see `ServiceCommunicator.request_async`."""
        waiting = _Waiting()
        self._replies.expect(envelope, waiting.tell)
        sending: Future[None] | None = None
        try:
            # The loop is not woken when it has been sent: only by the answer, or the error that
            # ends the wait for one.
            sending = self._senders.submit(copy_context().run, self._send_for, envelope, waiting)
            return answer_of(await waiting.outcome(seconds))
        except TimeoutError:
            self._replies.forget(envelope.id)  # from now on it is not sent any more
            raise _too_late(envelope, seconds, sending, waiting) from None
        finally:
            if sending is not None:
                sending.cancel()  # others wait for that thread
            self._replies.forget(envelope.id)

    def close(self) -> None:
        """Send what is waiting for a thread no more, and stop consuming replies."""
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._begin()
        self._replies.close()

    def _begin(self) -> None:
        profile = self._bus.profile
        count = 1 if profile.confirms_later or profile.has_batches else SENDERS
        self._senders = ThreadPoolExecutor(count, thread_name_prefix="messaging-asks")

    def _publish(self, envelope: Envelope) -> None:
        self._bus.round_trips.ask(envelope, partial(self._replies.fail, envelope.id))

    def _send_for(self, envelope: Envelope, waiting: "_Waiting") -> None:
        """Send a request, if it is still waited for; what goes wrong ends the wait."""
        try:
            self._replies.open()
            waiting.is_being_sent = True
            # In this order: who gives up first has it forgotten, and then looks at that mark.
            if self._replies.is_expected(envelope.id):
                self._publish(envelope)
        except Exception as exc:
            self._replies.fail(envelope.id, exc)


class _Waiting:
    """One task that waits for an answer."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Outcome] = self._loop.create_future()
        #: Whether publishing has begun. Set by the thread that does it.
        self.is_being_sent = False

    def tell(self, outcome: Outcome) -> None:
        """Have the task go on with this. Called on any thread."""
        try:
            self._loop.call_soon_threadsafe(self._settle, outcome)
        except RuntimeError:
            logger.debug("an answer came after the end of the loop that waited for it")

    async def outcome(self, seconds: float) -> Outcome:
        """Return what is told.

        Raises:
            TimeoutError: nothing was, in so many seconds.
        """
        timer = self._loop.call_later(seconds, self._settle, TimeoutError())
        try:
            outcome = await self._outcome
        finally:
            timer.cancel()
        if isinstance(outcome, TimeoutError):
            raise outcome
        return outcome

    def _settle(self, outcome: Outcome) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)


def _too_late(
    envelope: Envelope, seconds: float, sending: "Future[None] | None", waiting: _Waiting
) -> MessagingError:
    """Return the error of a request without an answer in time, by how far it has come."""
    if not waiting.is_being_sent:
        return BrokerUnavailable(f"the broker could not be asked within {seconds:g} s")
    if sending is not None and not sending.done():
        return PublishUncertain(f"the broker did not take a request within {seconds:g} s")
    return RequestTimeout(envelope.target, envelope.type, seconds)


def answer_of(outcome: Outcome) -> Any:
    """Return what a reply says, or raise what it or the lack of one means."""
    error = outcome if isinstance(outcome, Exception) else error_from(outcome)
    if error is not None:
        raise error
    assert isinstance(outcome, Envelope)
    return outcome.data
