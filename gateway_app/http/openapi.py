"""The live routes as an OpenAPI 3.1 document."""

from collections.abc import Mapping
from typing import Any, Final

from gateway_app.http import durable
from gateway_app.http.matching import Target, parameter_names
from gateway_app.http.problem import CONTENT_TYPE
from gateway_app.http.routing import Routing
from gateway_app.http.schemas import Schema

#: The gateway's own; services cannot register it.
PATH: Final = "/api/openapi.json"
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
#: What any route may answer besides what it is there for.
_ERRORS: Final = {
    "400": "The request means nothing: path, headers or body",
    "413": "The body is too large",
    "429": "Too many requests of this client",
    "503": "Nobody is there to answer; Retry-After says when to try again",
}
_BUS_ERRORS: Final = {
    "403": "The service refuses it",
    "404": "The service knows no such thing",
    "409": "The service says that it contradicts what is there",
    "415": "The body is not JSON",
    "422": "The data is not what the service takes",
    "502": "The service failed",
    "504": "No answer in time; whether it was handled is unknown",
}
_PROXY_ERRORS: Final = {
    "502": "No instance could answer",
    "504": "No instance answered in time",
}


def document(routing: Routing) -> dict[str, Any]:
    """Return the document for the routes of a routing."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Problem": _problem_schema(), "MessageStatus": _status_schema()}
    for entry in sorted(routing.services.values(), key=lambda each: each.name):
        for _, target in entry.targets:
            item = paths.setdefault(target.path, {})
            item[target.method.lower()] = _operation(target, entry.schemas)
    paths[f"{durable.STATUS_PREFIX}{{id}}"] = _status_item()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Services behind the gateway",
            "version": str(routing.revision),
            "description": "Every route that a service has registered, as of this moment.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas},
    }


def _path_parameters(target: Target, schema: Schema | None) -> list[dict[str, Any]]:
    properties = {} if schema is None else schema.document.get("properties", {})
    return [
        _path_parameter(name, _simple(properties.get(name, {})) or {"type": "string"})
        for name in parameter_names(target.path)
    ]


def _path_parameter(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation(target: Target, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{target.method.lower()} {target.path}",
        "tags": [target.service],
        "summary": target.message or f"Answered by an instance of {target.service}",
    }
    schema = schemas.get(target.message)
    operation["parameters"] = _path_parameters(target, schema)
    if not target.message:
        operation["responses"] = {
            "default": {"description": "What the instance answers"},
            **_problems(_ERRORS | _PROXY_ERRORS),
        }
        return operation
    operation["parameters"] += _header_parameters()
    if target.method in _WITH_BODY:
        operation["requestBody"] = _request_body(target, schema)
    elif schema is not None:
        operation["parameters"] += _query_parameters(target, schema.document)
    operation["responses"] = {
        "200": {"description": "The service's answer", "content": {"application/json": {}}},
        "202": {
            "description": "Accepted: the message is kept until its outcome is known",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **_problems(_ERRORS | _BUS_ERRORS),
    }
    return operation


def _request_body(target: Target, schema: Schema | None) -> dict[str, Any]:
    content: dict[str, Any] = {"type": "object"}
    required = False
    if schema is not None:
        content = _without(schema.document, target.message, parameter_names(target.path))
        required = bool(content.get("required"))
    return {"required": required, "content": {"application/json": {"schema": content}}}


def _without(schema: Mapping[str, Any], message: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Return a schema without the properties that come with the path."""
    reduced = dict(schema)
    if "$defs" in schema:
        # Its references point into itself, wherever it stands.
        reduced["$id"] = f"urn:message:{message}"
    properties = {k: v for k, v in reduced.get("properties", {}).items() if k not in names}
    if "properties" in reduced:
        reduced["properties"] = properties
    if "required" in reduced:
        reduced["required"] = [name for name in reduced["required"] if name not in names]
    return reduced


def _query_parameters(target: Target, schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    in_path = parameter_names(target.path)
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _simple(value)}
        for name, value in schema.get("properties", {}).items()
        if name not in in_path
    ]


def _simple(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that stands by itself: of one that refers to others, that it is anything."""
    return {} if "$ref" in str(schema) else dict(schema)


def _header_parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": "Prefer",
            "in": "header",
            "description": "respond-async: a durable message and 202 instead of an answer",
            "schema": {"type": "string"},
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "With respond-async: the same key is the same message",
            "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
        },
        {
            "name": "Message-Priority",
            "in": "header",
            "description": "With respond-async: instead of the route's own, or NORMAL",
            "schema": {"enum": ["LOW", "NORMAL", "HIGH", "CRITICAL"]},
        },
    ]


def _problems(texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        status: {"description": text, "content": {CONTENT_TYPE: {"schema": _PROBLEM}}}
        for status, text in sorted(texts.items())
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
                **_problems({"404": "No such message", **_ERRORS}),
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
        "properties": {"id": {"type": "string"}, "state": {"type": "string"}},
    }
