"""Bodies of requests: as a stream with a limit, and as JSON."""

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final, NoReturn

from starlette.requests import Request

from gateway_app.http.headers import Headers
from gateway_app.http.problem import Problem

#: A body this small is kept, so that it can be sent a second time.
KEPT_BYTES: Final = 65_536


class Body:
    """The body of a request, read once.

    Args:
        request: of the client.
        limit: most bytes it may have.
        patience_seconds: longest wait for its next part.

    Raises:
        Problem: 413, it says itself that it has more; 400, it says nonsense.
    """

    def __init__(self, request: Request, limit: int, patience_seconds: float) -> None:
        self._parts = request.stream()
        self._patience_seconds = patience_seconds
        self._limit = limit
        self._read = 0
        self._kept = b""
        #: Whether all of it is in memory.
        self.is_complete = False
        #: What it says of its length; None: it ends when it ends.
        self.declared = _declared_length(request)
        self._is_chunked = "transfer-encoding" in request.headers
        if (self.declared or 0) > limit:
            raise self._too_large()

    async def keep(self) -> None:
        """Read what fits into `KEPT_BYTES`; sets `is_complete`.

        Raises:
            Problem: 413.
            ClientDisconnect: the client went away.
        """
        if self._is_none:
            self.is_complete = True
            return
        if (self.declared or 0) > KEPT_BYTES:
            return
        async for part in self._limited():
            self._kept += part
            if len(self._kept) > KEPT_BYTES:
                return
        self.is_complete = True

    async def all(self) -> bytes:
        """Return the whole body.

        Raises:
            Problem: 413.
            ClientDisconnect: the client went away.
        """
        if self._is_none:
            return b""
        kept = [self._kept]
        kept += [part async for part in self._limited()]
        return b"".join(kept)

    @property
    def _is_none(self) -> bool:
        return self.declared is None and not self._is_chunked

    @property
    def framing(self) -> Headers:
        """The headers that say how long it is."""
        if self.is_complete:
            length = len(self._kept)
            has_body = self.declared is not None or self._is_chunked
            return [(b"content-length", str(length).encode())] if has_body else []
        if self._is_chunked:
            return [(b"transfer-encoding", b"chunked")]
        return [(b"content-length", str(self.declared).encode())]

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the parts; again and again where it is complete, once where it is not.

        Raises:
            Problem: 413, there is more than allowed.
            ClientDisconnect: the client went away.
        """
        if self._kept:
            yield self._kept
        if not self.is_complete:
            async for part in self._limited():
                yield part

    async def _limited(self) -> AsyncIterator[bytes]:
        while (part := await self._next()) is not None:
            self._read += len(part)
            if self._read > self._limit:
                raise self._too_large()
            if part:
                yield part

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await anext(self._parts, None)
        except TimeoutError:
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT,
                f"nothing more of the body came for {self._patience_seconds:g} s",
                headers={"Connection": "close"},
            ) from None

    def _too_large(self) -> Problem:
        return Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body is larger than {self._limit} bytes",
            # What follows would be read as the next request.
            headers={"Connection": "close"},
        )


async def read_object(request: Request, limit: int, patience_seconds: float) -> dict[str, Any]:
    """Return the JSON object in the body; empty where there is no body.

    Args as with `Body`.

    Raises:
        Problem: 408 it stopped coming, 413 too large, 415 no JSON by its type, 400 no JSON or no
            object.
        ClientDisconnect: the client went away.
    """
    headers = request.headers
    if "content-length" not in headers and "transfer-encoding" not in headers:
        return {}
    body = await Body(request, limit, patience_seconds).all()
    if not body:
        return {}
    content_type = request.headers.get("content-type", "")
    if not _is_json(content_type):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body must be application/json, not {content_type or 'untyped'}",
            headers={"Accept": "application/json"},
        )
    try:
        value = json.loads(
            body, parse_constant=_refuse_constant, object_pairs_hook=_each_name_once
        )
    except RecursionError as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is nested too deep") from exc
    except (json.JSONDecodeError, UnicodeDecodeError, _Refused) as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {exc}") from exc
    except ValueError as exc:  # of Python's own: numbers of thousands of digits
        raise Problem(HTTPStatus.BAD_REQUEST, "a number in the body is too long") from exc
    if not isinstance(value, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return value


def _declared_length(request: Request) -> int | None:
    text = request.headers.get("content-length")
    if text is None or "transfer-encoding" in request.headers:
        return None  # RFC 9112 section 6.3: the latter counts
    if not text.isascii() or not text.isdigit():
        raise Problem(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
    return int(text)


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


class _Refused(ValueError):
    """JSON to some, and not to others."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is no JSON value")


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Of two values, another program might take the other one.
        raise _Refused("an object has a name twice")
    return found
