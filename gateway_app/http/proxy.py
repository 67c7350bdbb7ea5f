"""Requests passed on to an instance's own HTTP server, and its answers passed back, as they come.

When a request is tried again, it is on another instance:

- nothing of it was sent (no connection): whatever its method;
- it may have been handled, or the instance says that it cannot (502, 503, 504): only methods that
  RFC 9110 section 9.2.2 calls idempotent.

Never once a part of the body has gone that is not in memory any more, nor once a part of an answer
has reached the client.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import httpcore
from starlette.requests import Request
from starlette.types import Send

from gateway_app.http.bodies import Body
from gateway_app.http.connecting import CheckedBackend
from gateway_app.http.headers import request_headers, response_headers
from gateway_app.http.matching import Target
from gateway_app.http.problem import Problem
from gateway_app.http.routing import ServiceEntry
from gateway_app.http.upstreams import NoneLeft, Upstream, Upstreams
from gateway_app.http.waiting import while_present
from gateway_app.networks import Networks
from messaging import MessagingConfig

logger = logging.getLogger(__name__)

#: Instances one request is tried on; more would turn one fault into a flood.
MOST_TRIES: Final = 3
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
#: Unused connections to instances are closed after this: before they do it. gunicorn's 2 s is the
#: shortest default of the usual servers.
KEEP_ALIVE_SECONDS: Final = 1.5
#: What an instance says when it cannot, rather than that the request is wrong.
_CANNOT: Final = frozenset({502, 503, 504})
#: Nothing has been sent.
_NOT_SENT: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)
_BROKEN: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
#: What a status can be; others are no HTTP.
_FINAL: Final = range(200, 600)


class AnswerBroke(Exception):
    """An instance stopped in the middle of its answer; the client's connection must break too."""


class _Failed(Exception):
    """One try came to nothing.

    Attributes:
        problem: what the client is told if no other instance is left.
        was_sent: whether the instance may have handled the request.
    """

    def __init__(self, problem: Problem, *, was_sent: bool) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.was_sent = was_sent


@dataclass(slots=True)
class _Passage:
    """One request on its way."""

    request: Request
    target: Target
    entry: ServiceEntry
    body: Body
    tried: set[str] = field(default_factory=set)
    #: Whether a part of the body has gone that cannot be sent again.
    is_spent: bool = False
    #: Set when the client has nothing more to send.
    is_read: asyncio.Event = field(default_factory=asyncio.Event)

    async def content(self) -> AsyncIterator[bytes]:
        async for part in self.body.stream():
            self.is_spent = not self.body.is_complete
            yield part
        self.is_read.set()

    def may_go_on(self, *, was_sent: bool) -> bool:
        """Whether another instance may be tried."""
        is_safe = not was_sent or self.request.method in IDEMPOTENT
        return is_safe and not self.is_spent and len(self.tried) < MOST_TRIES


class Proxy:
    """Passes requests on. One per process of the gateway; used on its event loop.

    Args:
        config: has timeouts and limits.
    """

    def __init__(self, config: MessagingConfig) -> None:
        self._config = config
        self.upstreams = Upstreams(config)
        self._pool = httpcore.AsyncConnectionPool(
            # As many as there are requests, and those are limited. (httpcore counts all of them,
            # not only idle ones, where it limits those that it keeps.)
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=CheckedBackend(Networks.of(config)),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def forward(
        self, request: Request, target: Target, entry: ServiceEntry, send: Send
    ) -> None:
        """Pass a request on and its answer back.

        Raises:
            Problem: nothing has reached the client: 400 no instance could read it, 408 its body
                stopped coming, 413 too large, 502 broken, 503 no instance, 504 too slow.
            AnswerBroke: the answer stopped in the middle.
            ClientDisconnect: the client went away; the instance is told by a closed connection.
        """
        limit = target.max_body_bytes or self._config.http_max_body_bytes
        body = Body(request, limit, self._config.http_timeout_seconds)
        passage = _Passage(request, target, entry, body)
        await passage.body.keep()
        failure: _Failed | None = None
        while failure is None or passage.may_go_on(was_sent=failure.was_sent):
            try:
                instance_id, upstream = self.upstreams.choose(entry, passage.tried)
            except NoneLeft as exc:
                if failure is not None:
                    break
                raise _unavailable(entry, exc) from exc
            passage.tried.add(instance_id)
            try:
                await self._try(passage, upstream, send)
            except _Failed as exc:
                logger.info("%s at %s: %s", entry.name, instance_id, exc)
                failure = exc
            else:
                return
        raise failure.problem

    async def _try(self, passage: _Passage, upstream: Upstream, send: Send) -> None:
        with self.upstreams.in_hand(upstream):
            async with self._answer(passage, upstream) as answer:
                if answer.status not in _FINAL:
                    self.upstreams.failed(upstream)
                    raise _Failed(_cannot(passage, HTTPStatus.BAD_GATEWAY), was_sent=True)
                if answer.status in _CANNOT:
                    self.upstreams.failed(upstream)
                    if passage.may_go_on(was_sent=True) and self._has_other(passage):
                        raise _Failed(_cannot(passage, answer.status), was_sent=True)
                else:
                    upstream.breaker.answered()
                await self._pass_back(passage, upstream, answer, send)
                if answer.status not in _CANNOT:
                    upstream.breaker.succeeded()

    def _has_other(self, passage: _Passage) -> bool:
        try:
            self.upstreams.best(passage.entry, passage.tried)
        except NoneLeft:
            return False
        return True

    @asynccontextmanager
    async def _answer(
        self, passage: _Passage, upstream: Upstream
    ) -> AsyncIterator[httpcore.Response]:
        """Send the request and yield the head of the answer; its body is read later, or never.

        Raises:
            _Failed: there is none.
        """
        try:
            outgoing = self._outgoing(passage, upstream)
        except UnicodeError as exc:  # a host name that is none
            self.upstreams.failed(upstream)
            raise _Failed(_broken(passage, exc), was_sent=False) from exc
        try:
            is_read = None if passage.body.is_complete else passage.is_read
            async with while_present(passage.request, is_read=is_read):
                answer = await self._pool.handle_async_request(outgoing)
        except httpcore.LocalProtocolError as exc:
            # h11 is stricter than the gateway's server: no instance would get it.
            raise Problem(HTTPStatus.BAD_REQUEST, f"it cannot be passed on: {exc}") from exc
        except _NOT_SENT as exc:
            self.upstreams.failed(upstream)
            raise _Failed(_broken(passage, exc), was_sent=False) from exc
        except _BROKEN as exc:
            # One that does not read an upload may have answered it already: httpcore reads no
            # answer before all is sent.
            if not isinstance(exc, httpcore.WriteTimeout):
                self.upstreams.failed(upstream)
            raise _Failed(_broken(passage, exc), was_sent=True) from exc
        try:
            yield answer
        finally:
            await answer.aclose()

    def _outgoing(self, passage: _Passage, upstream: Upstream) -> httpcore.Request:
        scope = passage.request.scope
        target = bytes(scope["raw_path"]).partition(b"?")[0]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
        authority = f"{host}:{upstream.port}".encode("ascii")
        seconds = passage.target.timeout_seconds or self._config.http_timeout_seconds
        framing = passage.body.framing
        return httpcore.Request(
            passage.request.method,
            httpcore.URL(
                scheme=b"http", host=upstream.host.encode(), port=upstream.port, target=target
            ),
            headers=request_headers(scope, authority, framing),
            content=passage.content() if framing else None,
            extensions={
                "timeout": {
                    "connect": min(self._config.http_connect_seconds, seconds),
                    "read": seconds,
                    "write": seconds,
                    "pool": seconds,
                }
            },
        )

    async def _pass_back(
        self, passage: _Passage, upstream: Upstream, answer: httpcore.Response, send: Send
    ) -> None:
        headers = response_headers(answer.status, answer.headers)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        async with while_present(passage.request):
            await self._pass_body(passage, upstream, answer, send)

    async def _pass_body(
        self, passage: _Passage, upstream: Upstream, answer: httpcore.Response, send: Send
    ) -> None:
        parts: Any = answer.aiter_stream()
        while True:
            try:
                part = await anext(parts, None)
            except _BROKEN as exc:
                self.upstreams.failed(upstream)
                raise AnswerBroke(f"{passage.entry.name}: {_text(exc)}") from exc
            if part is None:
                break
            try:
                async with asyncio.timeout(self._config.http_timeout_seconds):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            except TimeoutError:
                raise AnswerBroke(f"{passage.entry.name}: the client does not read") from None
        await send({"type": "http.response.body", "body": b""})


def _unavailable(entry: ServiceEntry, left: NoneLeft) -> Problem:
    if left.seconds > 0:
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"every instance of {entry.name} has failed of late",
            headers={"Retry-After": str(math.ceil(left.seconds))},
        )
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, f"no instance of {entry.name} with an HTTP server is free"
    )


def _cannot(passage: _Passage, status: int) -> Problem:
    return Problem(HTTPStatus(status), f"{passage.entry.name} answered with {status}")


def _broken(passage: _Passage, error: Exception) -> Problem:
    is_slow = isinstance(error, httpcore.ReadTimeout | httpcore.WriteTimeout)
    status = HTTPStatus.GATEWAY_TIMEOUT if is_slow else HTTPStatus.BAD_GATEWAY
    is_unsent = isinstance(error, (*_NOT_SENT, UnicodeError))
    fate = "not sent" if is_unsent else "whether it was handled is unknown"
    return Problem(status, f"{passage.entry.name}: {_text(error)}; {fate}", retryable=is_unsent)


def _text(error: Exception) -> str:
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name
