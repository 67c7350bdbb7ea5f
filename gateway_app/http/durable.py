"""``Prefer: respond-async`` (RFC 7240): a durable message instead of a request.

The gateway keeps it until the service has told what became of it, whether the service runs now or
not. The client has the answer 202 and a URL that says how far it is.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.db import Error, transaction
from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway_app import bus
from gateway_app.http.database import in_database
from gateway_app.http.matching import Match, Target
from gateway_app.http.problem import Problem, problem_from
from messaging import MessagePriority, MessagingError, codec
from messaging.context import tracing
from messaging.custody import outbox
from messaging.custody.storing import is_refused
from messaging.errors import PublishError, PublishUncertain

STATUS_PREFIX: Final = "/bus/messages/"
PRIORITY_HEADER: Final = "message-priority"
KEY_HEADER: Final = "idempotency-key"
#: Visible ASCII; a UUID has 36 characters.
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_RESPOND_ASYNC: Final = re.compile(r"(?:^|[,;])\s*respond-async\s*(?:$|[,;])", re.IGNORECASE)


def is_wanted(request: Request) -> bool:
    """Return whether the client prefers not to wait for the answer."""
    return any(_RESPOND_ASYNC.search(value) for value in request.headers.getlist("prefer"))


async def accept(
    request: Request, match: Match, data: Mapping[str, Any], trace: str
) -> JSONResponse:
    """Answer for a message from now on; return 202 with the URL of its status.

    The same ``Idempotency-Key`` of one caller on the same route is the same message: sent once,
    with one effect.

    Raises:
        Problem: 400 a header is wrong, 413 too large, 422 the key was used with other data,
            503 not accepted: safe to send again, 504 maybe accepted: the database did not say.
    """
    key = _dedup_key(request, match.target)
    priority = _priority(request, match.target)
    try:
        message_id = await in_database(_accept, match.target, dict(data), priority, key, trace)
    except PublishUncertain as exc:
        raise problem_from(exc) from exc
    except (Error, PublishError) as exc:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, f"not accepted, safe to send again: {exc}"
        ) from exc
    except MessagingError as exc:
        raise problem_from(exc) from exc
    url = f"{STATUS_PREFIX}{message_id}"
    return JSONResponse(
        {"id": message_id, "status_url": url},
        status_code=HTTPStatus.ACCEPTED,
        headers={"Location": url, "Preference-Applied": "respond-async"},
    )


def _accept(
    target: Target,
    data: dict[str, Any],
    priority: MessagePriority,
    dedup_key: str | None,
    trace: str,
) -> str:
    is_said = False
    try:
        with tracing(trace), transaction.atomic():
            message_id = _say(target, data, priority, dedup_key)
            is_said = True
    except Error as exc:
        if is_said and not is_refused(exc):  # the commit, which may have been made
            raise PublishUncertain(f"maybe accepted: {exc}") from exc
        raise
    return message_id


def _say(
    target: Target, data: dict[str, Any], priority: MessagePriority, dedup_key: str | None
) -> str:
    message_id = bus.communicator.send_to_service(
        target.service,
        target.message,
        data,
        priority=priority,
        dedup_key=dedup_key,
        durable=True,
    )
    if dedup_key is not None:
        _check_same(message_id, data)
    return message_id


def _check_same(message_id: str, data: dict[str, Any]) -> None:
    """Make sure that what is kept under a key is this, whoever was first to use it.

    Raises:
        Problem: 422, it is not; what was sent here is rolled back.
    """
    known = outbox.find(message_id)
    if known is not None and known.body and codec.decode(known.body).data != data:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used on this route with other data",
        )


def refuse_key(request: Request) -> None:
    """Refuse the promise of one effect where it would not be kept.

    Raises:
        Problem: 400, there is a key.
    """
    if KEY_HEADER in request.headers:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "Idempotency-Key: only together with Prefer: respond-async"
        )


def _dedup_key(request: Request, target: Target) -> str | None:
    """Return what is one message; callers are told apart by the names of their tokens."""
    key = _key(request)
    if key is None:
        return None
    # Neither a path nor a key has a space in it: nobody can write somebody else's.
    caller = f" {request.state.caller}" if request.state.caller else ""
    return f"http {target.method} {target.path} {key}{caller}"


def _key(request: Request) -> str | None:
    key = request.headers.get(KEY_HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "Idempotency-Key: expected 1 to 200 visible ASCII characters",
        )
    return key


def _priority(request: Request, target: Target) -> MessagePriority:
    named = request.headers.get(PRIORITY_HEADER)
    if named is None:
        return target.priority or MessagePriority.NORMAL
    try:
        return MessagePriority(named.upper())
    except ValueError:
        names = ", ".join(MessagePriority)
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"Message-Priority: expected one of {names}, got {named!r:.50}"
        ) from None
