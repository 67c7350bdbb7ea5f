"""Replies to requests: how an answer or an error is written, and that it is given once."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from messaging.envelope import Envelope, MessageKind, new_message_id, utc_now
from messaging.errors import AlreadySettled, NoHandler, Reject, RemoteError
from messaging.text import storable

#: Header of a reply that carries an error instead of an answer.
ERROR_HEADER: Final = "error"
#: Requests remembered as answered; requests in flight at one time are far fewer.
REMEMBERED: Final = 10_000


def reply_to(request: Envelope, source: str, data: Any) -> Envelope:
    """Return the reply that answers a request."""
    return Envelope(
        id=new_message_id(),
        type=request.type,
        kind=MessageKind.REPLY,
        source=source,
        target=request.source,
        priority=request.priority,
        data=data,
        created_at=utc_now(),
        expires_at=request.expires_at,
        correlation_id=request.correlation_id,
        causation_id=request.id,
        traceparent=request.traceparent,
    )


def error_reply_to(request: Envelope, source: str, error: BaseException) -> Envelope:
    """Return the reply that tells a requester that its request failed."""
    retryable = bool(getattr(error, "retryable", False))
    described = {
        "type": getattr(error, "type", None) or type(error).__name__,
        # Texts of exceptions may hold what no message can: file names, what others sent.
        "message": storable(str(getattr(error, "message", None) or error)),
        "retryable": retryable,
    }
    if isinstance(error, Reject | NoHandler):
        # Not of a `RemoteError`: what a third service said of another question, such as that there
        # is no such thing, says nothing about this one.
        described["code"] = error.code
    return replace(reply_to(request, source, None), headers={ERROR_HEADER: described})


def error_from(reply: Envelope) -> RemoteError | None:
    """Return the error that a reply carries; None if it carries an answer."""
    described = reply.headers.get(ERROR_HEADER)
    if described is None:
        return None
    if not isinstance(described, dict):
        described = {"message": described}
    return RemoteError(
        str(described.get("type") or "Error"),
        str(described.get("message") or ""),
        retryable=described.get("retryable") is True,
        code=str(described.get("code") or ""),
    )


class AnsweredRequests:
    """The requests that this process has answered by hand. Thread-safe, bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._ids

    @contextmanager
    def answering(self, request_id: str) -> Iterator[None]:
        """Claim a request for one answer; the claim is dropped if sending it fails.

        Raises:
            AlreadySettled: it is claimed already.
        """
        with self._lock:
            if request_id in self._ids:
                raise AlreadySettled(f"request {request_id} has been answered before")
            self._ids[request_id] = None
            if len(self._ids) > REMEMBERED:
                self._ids.popitem(last=False)
        try:
            yield
        except BaseException:
            with self._lock:
                self._ids.pop(request_id, None)
            raise
