import json
import logging
from contextlib import suppress
from typing import Any

import pytest

from gateway_app.http.problem import Problem
from gateway_app.http.schemas import MOST_CHARACTERS, MOST_STEPS, Schema
from messaging.clock import SYSTEM_CLOCK

SLOW = "^(a+)+$"
SLOW_TEXT = "a" * 40 + "b"


def a_schema(**properties: Any) -> Schema:
    return Schema(json.dumps({"properties": properties}))


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"next": data}
    return data


@pytest.mark.parametrize(
    ("document", "data"),
    [
        ({"properties": {"x": {"uniqueItems": True}}}, {"x": [{"n": i} for i in range(3_000)]}),
        ({"properties": {"x": {"pattern": SLOW}}}, {"x": SLOW_TEXT}),
        ({"patternProperties": {SLOW: True}, "additionalProperties": False}, {SLOW_TEXT: 1}),
        ({"patternProperties": {SLOW: True}, "unevaluatedProperties": False}, {SLOW_TEXT: 1}),
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "properties": {"x": {"pattern": SLOW}, "next": {"$ref": "#"}},
            },
            {"next": {"x": SLOW_TEXT}},
        ),
        (
            {
                "properties": {
                    "x": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": SLOW}
                }
            },
            {"x": SLOW_TEXT},
        ),
        # Two branches at each level: 2 to the power of 40.
        (
            {
                "anyOf": [
                    {"properties": {"next": {"$ref": "#"}}, "required": [name]} for name in "ab"
                ]
            },
            nested(40),
        ),
        ({"properties": {"x": {"items": {"enum": [*["a"] * 16_000, 1]}}}}, {"x": [1] * 20_000}),
    ],
)
def test_a_check_takes_no_time_worth_speaking_of(
    document: dict[str, Any], data: dict[str, Any]
) -> None:
    schema = Schema(json.dumps(document))
    began = SYSTEM_CLOCK.monotonic()
    with suppress(Problem):
        schema.check(data)
    # Else it takes minutes, or for ever.
    assert SYSTEM_CLOCK.monotonic() - began < 20


def test_an_error_does_not_repeat_all_of_the_data() -> None:
    with pytest.raises(Problem) as refused:
        a_schema(x={"type": "integer"}).check({"x": "long" * 10_000})
    assert len(refused.value.members["errors"][0]["detail"]) == MOST_CHARACTERS


def test_what_is_checked_is_checked_to_the_last_item() -> None:
    schema = a_schema(x={"items": {"type": "integer"}})
    items: list[Any] = [*range(MOST_STEPS // 2), "last"]
    with pytest.raises(Problem) as refused:
        schema.check({"x": items})
    assert refused.value.members["errors"][0]["pointer"] == f"/x/{MOST_STEPS // 2}"


def test_a_schema_that_names_its_own_dialect_is_checked() -> None:
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "required": ["x"]}
    with pytest.raises(Problem):
        Schema(json.dumps(document)).check({})


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x.json", "file:///etc/hostname"])
def test_nothing_is_fetched_for_a_schema(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr("urllib.request.urlopen", fetched.append)
    a_schema(x={"$ref": address}).check({"x": 1})
    assert fetched == []


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"$ref": "#/$defs/nothing"}, 1),
        ({"multipleOf": 0.01}, 10**400),
        ({"type": "nonsense"}, 1),
        ({"$ref": "#"}, nested(600)["next"]),
    ],
)
def test_what_cannot_be_checked_is_left_to_the_service_and_logged_once(
    schema: Any, data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    document = {"properties": {"x": schema, "next": {"$ref": "#"}}}
    whole = Schema(json.dumps(document))
    with caplog.at_level(logging.WARNING, "gateway_app.http.schemas"):
        for _ in range(3):
            whole.check({"x": data, "next": data} if isinstance(data, dict) else {"x": data})
    assert len(caplog.records) == 1


def test_a_schema_may_be_of_any_valid_form() -> None:
    schema = a_schema(
        number={"type": ["integer", "null"]},
        anything=True,
        nothing=False,
        none={"type": "array", "items": False},
        some={"anyOf": [True, {"type": "boolean"}]},
        odd={"type": [["list"], {}], "anyOf": 7},
    )
    texts = {"number": "7", "anything": "1", "nothing": "1", "none": "1", "some": "true"}
    typed = schema.typed(texts | {"odd": "1"})
    assert typed == {
        "number": 7,
        "anything": "1",
        "nothing": "1",
        "none": ["1"],
        "some": True,
        "odd": "1",
    }
    assert Schema('{"properties": [1]}').typed({"x": "1"}) == {"x": "1"}


def test_where_it_is_wrong_is_a_json_pointer() -> None:
    schema = Schema('{"additionalProperties": {"items": {"type": "integer"}}, "minProperties": 1}')
    with pytest.raises(Problem) as refused:
        schema.check({"a/b~c": [1, "two"]})
    assert [each["pointer"] for each in refused.value.members["errors"]] == ["/a~1b~0c/1"]
    with pytest.raises(Problem) as empty:
        schema.check({})
    assert [each["pointer"] for each in empty.value.members["errors"]] == [""]


def test_halves_of_characters_in_the_data_are_told_of() -> None:
    schema = Schema('{"additionalProperties": {"type": "integer"}}')
    with pytest.raises(Problem) as refused:
        schema.check({"\ud800": "text"})
    response = refused.value.response()
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(bytes(response.body))["errors"][0]["pointer"] == "/\ud800"
