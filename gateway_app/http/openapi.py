"""The live routes as an OpenAPI 3.1 document."""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from gateway_app.http import durable
from gateway_app.http.matching import Target, parameter_names
from gateway_app.http.problem import CONTENT_TYPE
from gateway_app.http.routing import Routing
from gateway_app.http.schemas import MOST_LEVELS, Schema
from gateway_app.message_status import STATES

logger = logging.getLogger(__name__)

#: The gateway's own; services cannot register it.
PATH: Final = "/api/openapi.json"
#: The same, as the segments of a request's path.
SEGMENTS: Final = tuple(PATH[1:].split("/"))
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})

#: What they are called, and the text of each by status.
_Kind = tuple[str, Mapping[str, str]]
#: What any route may answer besides what it is there for.
_ERRORS: Final[_Kind] = (
    "Any",
    {
        "400": "The request means nothing: path, headers or body",
        "413": "The body is too large",
        "429": "Too many requests of this client",
        "503": "Nobody is there to answer; Retry-After says when to try again",
    },
)
_BUS_ERRORS: Final[_Kind] = (
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
_PROXY_ERRORS: Final[_Kind] = (
    "Proxy",
    {"502": "No instance could answer", "504": "No instance answered in time"},
)
_STATUS_ERRORS: Final[_Kind] = ("Status", {"404": "No such message"})


def document_bytes(routing: Routing) -> bytes:
    """Return the document for the routes of a routing, as JSON in ASCII.

    Takes seconds where there are thousands of routes: to be called on a thread, once for each
    `Routing.revision`. What a schema says that cannot be described is left out, and logged.
    """
    whole = document(routing)
    paths = whole.pop("paths")
    # Piece by piece: the encoder lets no other thread run until it is done.
    pieces = ", ".join(f"{json.dumps(path)}: {json.dumps(item)}" for path, item in paths.items())
    return f'{json.dumps(whole)[:-1]}, "paths": {{{pieces}}}}}'.encode()


def document(routing: Routing) -> dict[str, Any]:
    """Return the document for the routes of a routing."""
    paths: dict[str, dict[str, Any]] = {}
    shown: dict[str, str] = {}
    # In the order in which they are matched: the first of one shape counts, and gives its names.
    offered = sorted(
        (
            (number, target, entry.schemas)
            for entry in routing.services.values()
            for number, target in entry.targets
        ),
        key=lambda each: each[0],
    )
    for _, target, schemas in offered:
        path = shown.setdefault(_shape(target.path), target.path)
        item = paths.setdefault(path, {})
        if target.method.lower() not in item:
            item[target.method.lower()] = _described(target, path, schemas.get(target.message))
    paths[f"{durable.STATUS_PREFIX}{{id}}"] = _status_item()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Services behind the gateway",
            "version": str(routing.revision),
            "description": "Every route that a service has registered, as of this moment.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Problem": _problem_schema(), "MessageStatus": _status_schema()},
            "parameters": _header_parameters(),
            "responses": _problem_responses(),
        },
    }


def _shape(path: str) -> str:
    """Return a path without the names of its parameters: paths of one shape match the same."""
    parameters = {f"{{{name}}}" for name in parameter_names(path)}
    return "/".join("{}" if part in parameters else part for part in path.split("/"))


def _described(target: Target, path: str, schema: Schema | None) -> dict[str, Any]:
    """Return the operation; without its schema where that cannot be described."""
    try:
        if schema is None or not schema.is_deep:
            return _operation(target, path, schema)
        fault = f"more than {MOST_LEVELS} levels"
    except Exception as exc:
        # One service's schema must not take the document from all others.
        fault = f"{type(exc).__name__}: {exc}"
    logger.warning("the schema of %s %s is left out: %.300s", target.method, path, fault)
    return _operation(target, path, None)


def _operation(target: Target, path: str, schema: Schema | None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{target.method.lower()} {path}",
        "tags": [target.service],
        "summary": target.message or f"Answered by an instance of {target.service}",
        "parameters": _path_parameters(target, path, schema),
    }
    if not target.message:
        operation["responses"] = {
            "default": {"description": "What the instance answers"},
            **_problems(_ERRORS, _PROXY_ERRORS),
        }
        return operation
    operation["parameters"] += [
        {"$ref": f"#/components/parameters/{name}"} for name in _header_parameters()
    ]
    if target.method in _WITH_BODY:
        operation["requestBody"] = _request_body(target, schema)
    elif schema is not None:
        operation["parameters"] += _query_parameters(target, schema)
    operation["responses"] = {
        "200": {"description": "The service's answer", "content": {"application/json": {}}},
        "202": {
            "description": "Accepted: the message is kept until its outcome is known",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **_problems(_ERRORS, _BUS_ERRORS),
    }
    return operation


def _path_parameters(target: Target, path: str, schema: Schema | None) -> list[dict[str, Any]]:
    """Return the parameters under the names of the path shown; the route's own have the schema."""
    properties = {} if schema is None else schema.properties
    return [
        _path_parameter(shown, _simple(properties.get(name)) or {"type": "string"})
        for shown, name in zip(parameter_names(path), parameter_names(target.path), strict=True)
    ]


def _path_parameter(name: str, schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _request_body(target: Target, schema: Schema | None) -> dict[str, Any]:
    content: dict[str, Any] = {"type": "object"}
    if schema is not None:
        content = _without_path(schema, target)
    required = bool(content.get("required"))
    return {"required": required, "content": {"application/json": {"schema": content}}}


def _without_path(schema: Schema, target: Target) -> dict[str, Any]:
    """Return a schema without the properties that come with the path."""
    names = parameter_names(target.path)
    reduced = dict(schema.document)
    if not _is_simple(reduced):
        # Its references point into itself, wherever it stands; each id may stand there once.
        reduced["$id"] = f"urn:operation:{target.method}:{quote(target.path)}"
    if "properties" in reduced:
        reduced["properties"] = {k: v for k, v in schema.properties.items() if k not in names}
    if "required" in reduced:
        reduced["required"] = [name for name in _required(schema) if name not in names]
    return reduced


def _query_parameters(target: Target, schema: Schema) -> list[dict[str, Any]]:
    in_path = parameter_names(target.path)
    required = _required(schema)
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _simple(value)}
        for name, value in schema.properties.items()
        if name not in in_path
    ]


def _required(schema: Schema) -> list[str]:
    names = schema.document.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _simple(schema: Any) -> dict[str, Any]:
    """Return a schema that stands by itself: of one that refers to others, that it is anything."""
    return dict(schema) if isinstance(schema, Mapping) and _is_simple(schema) else {}


def _is_simple(schema: Mapping[str, Any]) -> bool:
    text = str(schema)
    return not any(f"'{word}'" in text for word in ("$ref", "$dynamicRef", "$id"))


def _header_parameters() -> dict[str, Any]:
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
    """Return the responses that operations refer to: written once, not once for each of them."""
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        f"{kind}{status}": {"description": text, "content": content}
        for kind, texts in (_ERRORS, _BUS_ERRORS, _PROXY_ERRORS, _STATUS_ERRORS)
        for status, text in texts.items()
    }


def _problems(*kinds: _Kind) -> dict[str, Any]:
    return {
        status: {"$ref": f"#/components/responses/{kind}{status}"}
        for status, kind in sorted((status, kind) for kind, texts in kinds for status in texts)
    }


def _status_item() -> dict[str, Any]:
    status = {"$ref": "#/components/schemas/MessageStatus"}
    return {
        "parameters": [_path_parameter("id", {"type": "string"})],
        "get": {
            "operationId": "message status",
            "tags": ["gateway"],
            "summary": "How far a message is",
            "responses": {
                "200": {
                    "description": "Its state",
                    "content": {"application/json": {"schema": status}},
                },
                **_problems(_ERRORS, _STATUS_ERRORS),
            },
        },
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
