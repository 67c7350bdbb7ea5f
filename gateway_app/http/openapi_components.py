"""What operations of the OpenAPI document refer to: written once, not once for every route."""

from collections.abc import Mapping
from typing import Any, Final

from gateway_app.http.problem import CONTENT_TYPE
from gateway_app.message_status import STATES

#: What they are called, and the text of each by status.
Kind = tuple[str, Mapping[str, str]]
#: What any route may answer besides what it is there for.
ANY: Final[Kind] = (
    "Any",
    {
        "400": "The request means nothing: path, headers or body",
        "413": "The body is too large",
        "429": "Too many requests of this client",
        "503": "Nobody is there to answer; Retry-After says when to try again",
    },
)
BUS: Final[Kind] = (
    "Bus",
    {
        "403": "The service refuses it",
        "404": "The service knows no such thing",
        "409": "The service says that it contradicts what is there",
        "415": "The body is not JSON",
        "422": "The data is not what the service takes",
        "502": "The service failed",
        "504": "No answer in time; whether it was handled is unknown",
    },
)
PROXY: Final[Kind] = (
    "Proxy",
    {"502": "No instance could answer", "504": "No instance answered in time"},
)
STATUS: Final[Kind] = ("Status", {"404": "No such message"})
TOKEN: Final[Kind] = (
    "Token",
    {
        "401": "No valid API token",
        "403": "The API token does not open this route, or the service refuses it",
    },
)
#: What the security scheme is called.
_SCHEME: Final = "apiToken"


def components() -> dict[str, Any]:
    """Return everything that operations refer to."""
    return {
        "schemas": {"Problem": _problem_schema(), "MessageStatus": _status_schema()},
        "parameters": header_parameters(),
        "responses": _problem_responses(),
        "securitySchemes": {
            _SCHEME: {
                "type": "http",
                "scheme": "bearer",
                "description": "An API token of this gateway: manage.py bus_token",
            }
        },
    }


def secured(operation: dict[str, Any], *, needs_token: bool) -> dict[str, Any]:
    """Return an operation with who may call it, and what others are answered."""
    if not needs_token:
        return {**operation, "security": []}
    responses = {**operation["responses"], **problems(TOKEN)}
    return {**operation, "security": [{_SCHEME: []}], "responses": responses}


def header_parameters() -> dict[str, Any]:
    """Return the headers of what a service is asked over the bus, by name."""
    return {
        "Prefer": {
            "name": "Prefer",
            "in": "header",
            "description": "respond-async: a durable message and 202 instead of an answer",
            "schema": {"type": "string"},
        },
        "Idempotency-Key": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "With respond-async: the same key is the same message",
            "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
        },
        "Message-Priority": {
            "name": "Message-Priority",
            "in": "header",
            "description": "With respond-async: instead of the route's own, or NORMAL",
            "schema": {"enum": ["LOW", "NORMAL", "HIGH", "CRITICAL"]},
        },
    }


def _problem_responses() -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        f"{kind}{status}": {"description": text, "content": content}
        for kind, texts in (ANY, BUS, PROXY, STATUS, TOKEN)
        for status, text in texts.items()
    }


def problems(*kinds: Kind) -> dict[str, Any]:
    """Return the responses of an operation that are errors of these kinds, by reference."""
    return {
        status: {"$ref": f"#/components/responses/{kind}{status}"}
        for status, kind in sorted((status, kind) for kind, texts in kinds for status in texts)
    }


def _problem_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
            "retryable": {"type": "boolean"},
        },
    }


def _status_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["id", "state"],
        "properties": {
            "id": {"type": "string"},
            "state": {"type": "string", "enum": list(STATES)},
            "detail": {"type": "string"},
        },
    }
