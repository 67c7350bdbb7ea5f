"""The live routes as an OpenAPI 3.1 document."""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from gateway_app.http import durable
from gateway_app.http.matching import Target, parameter_names
from gateway_app.http.openapi_components import (
    ANY,
    BUS,
    PROXY,
    STATUS,
    components,
    header_parameters,
    problems,
    secured,
)
from gateway_app.http.routing import Routing
from gateway_app.http.schemas import MOST_LEVELS, Schema

logger = logging.getLogger(__name__)

#: The gateway's own; services cannot register it.
PATH: Final = "/api/openapi.json"
#: The same, as the segments of a request's path.
SEGMENTS: Final = tuple(PATH[1:].split("/"))
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


def document_bytes(routing: Routing, *, is_token_default: bool = False) -> bytes:
    """Return the document for the routes of a routing, as JSON in ASCII.

    Takes seconds where there are thousands of routes: to be called on a thread, once for each
    `Routing.revision`. What a schema says that cannot be described is left out, and logged.

    Args:
        routing: has the routes.
        is_token_default: whether callers need a token where a route does not say so itself.
    """
    whole = document(routing, is_token_default=is_token_default)
    paths = whole.pop("paths")
    # Piece by piece: the encoder lets no other thread run until it is done.
    pieces = ", ".join(f"{json.dumps(path)}: {json.dumps(item)}" for path, item in paths.items())
    return f'{json.dumps(whole)[:-1]}, "paths": {{{pieces}}}}}'.encode()


def document(routing: Routing, *, is_token_default: bool = False) -> dict[str, Any]:
    """Return the document for the routes of a routing; see `document_bytes`."""
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
            described = _described(target, path, schemas.get(target.message))
            needs = is_token_default if target.auth is None else target.auth == "token"
            item[target.method.lower()] = secured(described, needs_token=needs)
    status = _status_item()
    status["get"] = secured(status["get"], needs_token=is_token_default)
    paths[f"{durable.STATUS_PREFIX}{{id}}"] = status
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Services behind the gateway",
            "version": str(routing.revision),
            "description": "Every route that a service has registered, as of this moment.",
        },
        "paths": dict(sorted(paths.items())),
        "components": components(),
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
            **problems(ANY, PROXY),
        }
        return operation
    operation["parameters"] += [
        {"$ref": f"#/components/parameters/{name}"} for name in header_parameters()
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
        **problems(ANY, BUS),
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
                **problems(ANY, STATUS),
            },
        },
    }
