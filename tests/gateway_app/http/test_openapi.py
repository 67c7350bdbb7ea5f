import json
import logging
from typing import Any

import pytest

from gateway_app.http.matching import Target
from gateway_app.http.openapi import PATH, SEGMENTS, document_bytes
from gateway_app.http.paths import segments_of
from gateway_app.http.routing import Routing, ServiceEntry
from gateway_app.http.schemas import Schema

REFERRING = {
    "properties": {"id": {"type": "integer"}, "line": {"$ref": "#/$defs/Line"}},
    "$defs": {"Line": {"type": "string"}},
}


def document_of(*services: tuple[str, Any, list[tuple[int, str, str]]]) -> Any:
    """The document for services: name, schema of message type m, numbered methods and paths."""
    entries = {
        pk: ServiceEntry(
            name,
            tuple((number, Target(method, path, name, "m")) for number, method, path in routes),
            schemas={"m": Schema(json.dumps(schema))},
        )
        for pk, (name, schema, routes) in enumerate(services)
    }
    return json.loads(document_bytes(Routing.of(7, entries)))


def test_its_path_and_its_segments_are_the_same() -> None:
    assert segments_of(PATH.encode()) == SEGMENTS


def test_paths_of_one_shape_are_one_item_with_one_set_of_names() -> None:
    document = document_of(
        ("b", {"properties": {"key": {"type": "integer"}}}, [(2, "PUT", "/api/o/{key}")]),
        (
            "c",
            {},
            [(1, "GET", "/api/o/{id}"), (3, "DELETE", "/api/o/all"), (4, "GET", "/api/o/{x}")],
        ),
    )
    assert set(document["paths"]) == {"/api/o/{id}", "/api/o/all", "/bus/messages/{id}"}
    item = document["paths"]["/api/o/{id}"]
    assert set(item) == {"get", "put"}
    parameter = item["put"]["parameters"][0]
    assert (parameter["name"], parameter["schema"]) == ("id", {"type": "integer"})
    assert item["put"]["tags"] == ["b"]


def test_each_schema_that_refers_to_itself_has_an_id_of_its_own() -> None:
    routes = [(1, "PUT", "/api/o/{id}"), (2, "POST", "/api/o/{id}"), (3, "POST", "/api/o")]
    document = document_of(("a", REFERRING, routes), ("b", REFERRING, [(4, "POST", "/api/b")]))
    operations = [
        operation
        for item in document["paths"].values()
        for operation in item.values()
        if "requestBody" in operation
    ]
    bodies = [each["requestBody"]["content"]["application/json"] for each in operations]
    ids = {body["schema"]["$id"] for body in bodies}
    assert len(ids) == len(operations) == 4
    assert not any(set("{} ") & set(identity) for identity in ids)


def test_everything_an_operation_refers_to_is_there() -> None:
    document = document_of(("a", {}, [(1, "PUT", "/api/o/{id}"), (2, "GET", "/api/o/{id}")]))
    text = json.dumps(document)
    referred = {part.partition('"')[0] for part in text.split('"$ref": "#/')[1:]}
    assert referred
    for pointer in referred:
        value = document
        for name in pointer.split("/"):
            value = value[name]


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"id": True, "x": False, "y": {"anyOf": [True]}}},
        {"properties": {"id": 1}, "required": 7},
        {"properties": ["id"], "required": [["id"], {}]},
        {"properties": {"id": {"enum": ["\ud800"]}, "\ud800": {}}},
        {"properties": {"x": deep(400)}},
        "no object",
    ],
)
def test_the_schema_of_one_service_takes_the_document_from_nobody(
    schema: Any, caplog: pytest.LogCaptureFixture
) -> None:
    routes = [(1, "PUT", "/api/o/{id}"), (2, "GET", "/api/o/{id}")]
    with caplog.at_level(logging.WARNING, "gateway_app.http.openapi"):
        document = document_of(("odd", schema, routes), ("b", REFERRING, [(3, "GET", "/api/b")]))
    assert set(document["paths"]["/api/o/{id}"]) == {"get", "put"}
    names = {each.get("name") for each in document["paths"]["/api/b"]["get"]["parameters"]}
    assert {"id", "line"} <= names


def test_what_is_too_deep_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gateway_app.http.openapi"):
        document = document_of(("odd", deep(200), [(1, "PUT", "/api/o")]))
    body = document["paths"]["/api/o"]["put"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"type": "object"}
    assert len(caplog.records) == 1
