"""Asking another service and waiting for its answer."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from messaging.answers import error_from
from messaging.bus import MessageBus
from messaging.compose import Composer, seconds_left
from messaging.envelope import Envelope, MessageKind, MessagePriority
from messaging.errors import RequestTimeout
from messaging.replies import ReplyQueue


class Requester:
    """Sends the requests of one service and hands out the answers. Thread-safe."""

    def __init__(self, bus: MessageBus, composer: Composer, service: str) -> None:
        self._bus = bus
        self._composer = composer
        self._replies = ReplyQueue(bus, service)

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
            ValueError: a name, priority or duration is not valid.
        """
        wanted = self._bus.config.request_timeout_seconds if timeout is None else timeout
        seconds = seconds_left(wanted)
        if seconds <= 0 < wanted:
            raise RequestTimeout(target, message_type, 0.0)
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
        try:
            return _answer(self._send(envelope).result(seconds))
        except TimeoutError:
            raise RequestTimeout(envelope.target, envelope.type, seconds) from None
        finally:
            self._replies.forget(envelope.id)

    async def ask_async(self, envelope: Envelope, seconds: float) -> Any:
        """Send a request and await its answer; see `ServiceCommunicator.request_async`."""
        try:
            future = await asyncio.to_thread(self._send, envelope)
            return _answer(await asyncio.wait_for(asyncio.wrap_future(future), seconds))
        except TimeoutError:
            raise RequestTimeout(envelope.target, envelope.type, seconds) from None
        finally:
            self._replies.forget(envelope.id)

    def close(self) -> None:
        """Stop consuming replies."""
        self._replies.close()

    def _send(self, envelope: Envelope) -> "Future[Envelope]":
        future = self._replies.expect(envelope.id)
        self._bus.round_trips.ask(envelope, partial(self._replies.fail, envelope.id))
        return future


def _answer(reply: Envelope) -> Any:
    error = error_from(reply)
    if error is not None:
        raise error
    return reply.data
