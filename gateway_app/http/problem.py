"""Errors as problem JSON (RFC 9457), and which error of the bus is which status."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from messaging import MessagingError, RemoteError, RequestTimeout, ServiceNotFound
from messaging.errors import (
    BrokerError,
    EncodeError,
    MessageTooLarge,
    PublishError,
    PublishUncertain,
)

logger = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
#: Brokers restart and services register again within a few seconds.
RETRY_AFTER_SECONDS: Final = 5

#: The first that an error is an instance of has it.
_STATUS: Final[tuple[tuple[type[MessagingError], HTTPStatus], ...]] = (
    (EncodeError, HTTPStatus.BAD_REQUEST),
    (MessageTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (RemoteError, HTTPStatus.BAD_GATEWAY),
    (ServiceNotFound, HTTPStatus.SERVICE_UNAVAILABLE),
    (BrokerError, HTTPStatus.SERVICE_UNAVAILABLE),
    # Maybe sent, so maybe handled: what 504 says as well.
    (PublishUncertain, HTTPStatus.GATEWAY_TIMEOUT),
    (RequestTimeout, HTTPStatus.GATEWAY_TIMEOUT),
    # The outbox or the broker did not take it: not sent.
    (PublishError, HTTPStatus.SERVICE_UNAVAILABLE),
)
#: What a handler said of a request it refused, by the code of `messaging.Reject`.
_STATUS_OF_CODE: Final[Mapping[str, HTTPStatus]] = {
    "rejected": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    "not_found": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "forbidden": HTTPStatus.FORBIDDEN,
}


class Problem(Exception):
    """An answer that is an error.

    Attributes:
        status: of HTTP.
        detail: text for people.
        headers: more headers of the response.
        members: more members of the problem object.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))

    def response(self) -> Response:
        """Return the response that says so."""
        body = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            **self.members,
        }
        # Plain ASCII: texts of clients may have halves of characters, which UTF-8 cannot hold.
        return Response(
            json.dumps(body),
            status_code=self.status.value,
            media_type=CONTENT_TYPE,
            headers=self.headers,
        )


def problem_from(error: MessagingError) -> Problem:
    """Return the problem that an error of a request is to an HTTP client."""
    if isinstance(error, RemoteError):
        status = _STATUS_OF_CODE.get(error.code, HTTPStatus.BAD_GATEWAY)
        if status is HTTPStatus.BAD_GATEWAY:
            # What a program says when it breaks is for its own log: it may hold anything.
            logger.warning("answered with 502: %s", error)
            return Problem(status, "the service failed", retryable=error.retryable)
        return Problem(status, error.message, code=error.code, retryable=error.retryable)
    fitting = (status for kind, status in _STATUS if isinstance(error, kind))
    return Problem(next(fitting, HTTPStatus.INTERNAL_SERVER_ERROR), str(error))
