"""Whether a receiver takes all that a sender sends: never a yes that a document belies."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.contracts.inclusion import gaps_between
from tests.unit.contracts.schemas import Documents, closed, oracle, pairs

SEEN: Counter[str] = Counter()
#: Documents tried for each pair of schemas.
DOCUMENTS = 30


@settings(
    max_examples=250,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(pairs(), st.integers(0, 2**32))
def hold(pair: tuple[Any, Any], seed: int) -> None:
    sent, taken = pair
    verdicts = {gap.verdict for gap in gaps_between(sent, taken)}
    SEEN[",".join(sorted(verdicts)) or "compatible"] += 1
    if verdicts:
        return
    sends, sends_named = oracle(sent), oracle(closed(sent))
    takes, documents = oracle(taken), Documents(sent, seed)
    for _ in range(DOCUMENTS):
        document = documents.one()
        if sends.is_valid(document) and sends_named.is_valid(document):
            SEEN["documents"] += 1
            assert takes.is_valid(document), document


def test_no_document_of_a_sender_is_refused_where_nothing_is_found() -> None:
    SEEN.clear()
    hold()
    # Else it would have found nothing, whatever is wrong.
    assert SEEN["compatible"] > 50
    assert SEEN["documents"] > 500


TAGGED = {
    "oneOf": [
        {"type": "object", "properties": {"k": {"const": "x"}, "n": {"type": "integer"}}},
        {"type": "object", "properties": {"k": {"const": "y"}}, "required": ["k"]},
    ]
}
SENDS_X = {"type": "object", "properties": {"k": {"const": "x"}}, "required": ["k"]}
ITSELF = {"$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}, "$ref": "#/$defs/A"}
TREE = {"type": "object", "properties": {"of": {"$ref": "#"}, "n": {"type": "integer"}}}
TEXTS = {"type": "object", "properties": {"of": {"$ref": "#"}, "n": {"type": "string"}}}
EVENTS = {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}
ANY_TEXT = {"type": "object", "properties": {"at": {"type": "string"}}}
NUMBERS = {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 5}]}
HUGE = {"$defs": {str(n): {"anyOf": [{"$ref": f"#/$defs/{n + 1}"}] * 9} for n in range(30)}}


def fields(*required: str, others: Any = None, **properties: Any) -> dict[str, Any]:
    more = {} if others is None else {"additionalProperties": others}
    return {"type": "object", "properties": properties, "required": list(required), **more}


TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
BOTH_HOLD = {"allOf": [fields(a=TEXT), fields(b=TEXT, others=False)]}
CONDITIONAL = {**fields(a=TEXT), "if": fields("a"), "then": fields(b=TEXT)}


@pytest.mark.parametrize(
    ("sent", "taken", "expected"),
    [
        (SENDS_X, TAGGED, []),
        ({**SENDS_X, "required": []}, TAGGED, ["cannot tell"]),
        (EVENTS, ANY_TEXT, []),
        (ANY_TEXT, EVENTS, ["breaks"]),
        (TREE, {**TREE, "title": "Tree"}, []),
        (TREE, TEXTS, ["breaks"]),
        (TREE, ITSELF, ["cannot tell"]),
        ({"type": "integer"}, ITSELF, ["cannot tell"]),
        # 7 fits both of alternatives that exclude each other.
        ({"type": "integer", "minimum": 6}, NUMBERS, ["cannot tell"]),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}, []),
        ({"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": 0}, ["breaks"]),
        ({"type": "number", "maximum": 0}, {"type": "number", "exclusiveMaximum": 0}, ["breaks"]),
        ({"type": "number", "exclusiveMaximum": 0}, {"type": "number", "maximum": 0}, []),
        (WHOLE, {**WHOLE, "multipleOf": 2}, ["breaks"]),
        ({**WHOLE, "multipleOf": 4}, {**WHOLE, "multipleOf": 2}, []),
        (TEXT, {**TEXT, "minLength": 1}, ["breaks"]),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": WHOLE}, ["breaks"]),
        (fields(others=TEXT), fields(others=WHOLE), ["breaks"]),
        (fields(others=TEXT), {"patternProperties": {"^x": WHOLE}}, ["cannot tell"]),
        (fields("a"), fields(a=WHOLE), ["breaks"]),
        (fields(a=TEXT), fields(b=WHOLE), []),
        (fields(a=TEXT, others=True), fields(b=WHOLE), ["breaks"]),
        # Fields that a part names which is not understood, or of which another part holds, too.
        (BOTH_HOLD, fields(b=WHOLE), ["cannot tell"]),
        (CONDITIONAL, fields(b=WHOLE), ["cannot tell"]),
        ({"const": "x"}, {"oneOf": [{"enum": ["x"]}, {"enum": ["x", "y"]}]}, ["cannot tell"]),
        (WHOLE, {"type": "number"}, []),
        ({"const": "x"}, {"const": "y"}, ["breaks"]),
        ({"anyOf": [TEXT, WHOLE]}, TEXT, ["breaks"]),
        (fields(a=TEXT), fields("a", a=TEXT), ["breaks"]),
        (fields(others=TEXT), {"propertyNames": {"maxLength": 3}}, ["breaks"]),
        ({"type": "array"}, {"type": "array", "uniqueItems": True}, ["breaks"]),
        ({"type": "array", "prefixItems": [TEXT]}, {"prefixItems": [WHOLE]}, ["breaks"]),
        ({"type": "number"}, {"type": "integer"}, ["breaks"]),
        ({"enum": ["a", None]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, []),
        ({"type": "string"}, {"enum": ["a"]}, ["breaks"]),
        (
            {"type": "string", "pattern": "a+"},
            {"type": "string", "pattern": "a*"},
            ["cannot tell"],
        ),
        ({"type": "string"}, {**HUGE, "$ref": "#/$defs/0"}, ["cannot tell"]),
        ({**HUGE, "$ref": "#/$defs/0"}, {"type": "string"}, ["cannot tell"]),
    ],
)
def test_what_is_known_of_a_pair(sent: Any, taken: Any, expected: list[str]) -> None:
    assert sorted({gap.verdict.value for gap in gaps_between(sent, taken)}) == expected
