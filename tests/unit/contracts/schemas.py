"""JSON Schemas as pydantic makes them, changes to them, and documents that a sender may send."""

import copy
from typing import Any, Final

from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

NAMES: Final = ("a", "b", "c", "d")
DEFS: Final = ("Tree", "Colour")
FORMATS: Final = {"date": "2026-03-01", "uuid": "6d1a7c3e-5f0b-4a43-9a3c-8a1d2f6b7c90"}
VALUES: Final = (None, True, False, 0, 1, 1.0, 2.5, -3, 7, "", "x", "red", "abcdef", [], {})

formats = FormatChecker(formats=())


@formats.checks("date")
def _is_date(value: Any) -> bool:
    return not isinstance(value, str) or value == FORMATS["date"]


@formats.checks("uuid")
def _is_uuid(value: Any) -> bool:
    return not isinstance(value, str) or value == FORMATS["uuid"]


def is_valid(schema: Any, document: Any) -> bool:
    """The oracle: what the standard says, formats included."""
    return bool(Draft202012Validator(schema, format_checker=formats).is_valid(document))


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    for word in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if draw(st.integers(0, 3)) == 0:
            schema[word] = draw(st.sampled_from([-2, 0, 0.5, 1, 3, 10]))
    if draw(st.integers(0, 5)) == 0:
        schema["multipleOf"] = draw(st.sampled_from([1, 2, 4]))
    return schema


@st.composite
def texts(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for word in ("minLength", "maxLength"):
        if draw(st.integers(0, 3)) == 0:
            schema[word] = draw(st.integers(0, 4))
    if draw(st.integers(0, 4)) == 0:
        schema["format"] = draw(st.sampled_from(sorted(FORMATS)))
    if draw(st.integers(0, 6)) == 0:
        schema["pattern"] = draw(st.sampled_from(["^a", "^[ab]"]))
    return schema


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    properties = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=3))
    if properties or draw(st.booleans()):
        schema["properties"] = properties
        required = [name for name in properties if draw(st.booleans())]
        if required:
            schema["required"] = required
    others = draw(st.sampled_from(["", "", "", "no", "some", "pattern", "names"]))
    if others == "no":
        schema["additionalProperties"] = False
    elif others == "some":
        schema["additionalProperties"] = draw(inner)
    elif others == "pattern":
        schema["patternProperties"] = {draw(st.sampled_from(["^a", "^[cd]$"])): draw(inner)}
        if draw(st.booleans()):
            schema["additionalProperties"] = False
    elif others == "names":
        schema["propertyNames"] = {"enum": draw(st.lists(st.sampled_from(NAMES), min_size=1))}
    if draw(st.integers(0, 8)) == 0:
        schema["maxProperties"] = draw(st.integers(1, 3))
    if draw(st.integers(0, 8)) == 0:
        schema["minProperties"] = draw(st.integers(1, 2))
    return schema


@st.composite
def lists(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array"}
    if draw(st.booleans()):
        schema["items"] = draw(inner)
    if draw(st.integers(0, 3)) == 0:
        schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=2))
        if draw(st.booleans()):
            schema["items"] = False
    for word in ("minItems", "maxItems"):
        if draw(st.integers(0, 3)) == 0:
            schema[word] = draw(st.integers(0, 3))
    if draw(st.integers(0, 4)) == 0:
        schema["uniqueItems"] = True
    return schema


@st.composite
def tagged(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A union of models told apart by a tag, as pydantic writes it."""
    branches = []
    for tag in draw(st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, unique=True)):
        branch = draw(objects(inner))
        branch.setdefault("properties", {})["a"] = {"const": tag}
        if draw(st.integers(0, 4)):
            branch["required"] = sorted({*branch.get("required", ()), "a"})
        branches.append(branch)
    return {draw(st.sampled_from(["oneOf", "anyOf"])): branches}


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    words = st.sampled_from(["anyOf", "anyOf", "oneOf", "allOf"])
    unions = st.tuples(words, st.lists(inner, min_size=1, max_size=3)).map(
        lambda each: dict([each])
    )
    beside = st.tuples(unions, inner).map(lambda each: {**each[1], **each[0]})
    negated = inner.map(lambda each: {"not": each})
    usual = [objects(inner), objects(inner), lists(inner), tagged(inner), unions]
    return st.one_of(*usual, *usual, beside, negated)


simple = st.one_of(
    st.just({}),
    st.sampled_from(["null", "boolean"]).map(lambda kind: {"type": kind}),
    st.lists(
        st.sampled_from(["null", "string", "integer", "object"]), min_size=1, unique=True
    ).map(lambda kinds: {"type": kinds}),
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=3).map(lambda each: {"enum": each}),
    st.sampled_from(VALUES).map(lambda value: {"const": value}),
    st.sampled_from(DEFS).map(lambda name: {"$ref": f"#/$defs/{name}"}),
    numbers(),
    texts(),
)
parts = st.recursive(simple, compound, max_leaves=8)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    schema = dict(draw(st.one_of(objects(parts), parts)))
    tree = draw(objects(st.one_of(simple, st.just({"$ref": "#/$defs/Tree"}))))
    colour = {"type": "string", "enum": draw(st.lists(st.sampled_from(["red", "x"]), min_size=1))}
    return {**schema, "$defs": {"Tree": tree, "Colour": colour}}


def _places(schema: Any) -> list[dict[str, Any]]:
    """Every schema in a schema, the schema first."""
    found = [schema] if isinstance(schema, dict) else []
    for each in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(each, dict | list):
            found += _places(each)
    return found


@st.composite
def changed(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with one or two of its words gone, added or widened: what a release changes."""
    other = copy.deepcopy(schema)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(_places(other)))
        words = [word for word in place if word not in ("$defs", "Tree", "Colour", "$ref")]
        if words and draw(st.booleans()):
            place.pop(draw(st.sampled_from(words)))
        elif isinstance(place.get("properties"), dict):
            place["properties"][draw(st.sampled_from(NAMES))] = draw(simple)
        elif "type" in place:
            place["type"] = draw(st.sampled_from(["number", "string", "object", "integer"]))
    return other


def documents(schema: Any) -> st.SearchStrategy[Any]:
    """Documents near a schema; whether they are valid by it, the oracle says."""
    return _documents(schema, schema, 5)


def _documents(schema: Any, root: Any, depth: int) -> st.SearchStrategy[Any]:
    anything = st.sampled_from([*VALUES, "2026-03-01", FORMATS["uuid"], "ab", 4, 10])
    if not isinstance(schema, dict) or depth == 0:
        return anything
    choices = []
    if "$ref" in schema:
        choices.append(_documents(root["$defs"][schema["$ref"][8:]], root, depth - 1))
    for word in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(word, ())
        choices += [_documents(branch, root, depth - 1) for branch in branches]
    if "enum" in schema:
        choices.append(st.sampled_from(schema["enum"]))
    if "const" in schema:
        choices.append(st.just(schema["const"]))
    if schema.get("type") == "object" or "properties" in schema:
        choices += [_objects(schema, root, depth)] * 2
    if schema.get("type") == "array":
        first = [_documents(each, root, depth - 1) for each in schema.get("prefixItems", ())]
        rest = st.lists(_documents(schema.get("items"), root, depth - 1), max_size=3)
        choices.append(st.tuples(st.tuples(*first), rest).map(lambda each: [*each[0], *each[1]]))
    if schema.get("type") in ("integer", "number"):
        choices.append(st.integers(-3, 12))
    if schema.get("type") == "number":
        choices.append(st.sampled_from([0.5, 0.25, 2.5, 9.75]))
    if schema.get("type") == "string":
        choices.append(st.text("abc", max_size=5))
        if schema.get("format") in FORMATS:
            choices.append(st.just(FORMATS[schema["format"]]))
    return st.one_of(*choices) if choices else anything


def _objects(schema: Any, root: Any, depth: int) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    fields = {name: _documents(each, root, depth - 1) for name, each in properties.items()}
    required = {name: fields[name] for name in schema.get("required", ()) if name in fields}
    optional = {name: each for name, each in fields.items() if name not in required}
    known = st.fixed_dictionaries(required, optional=optional)
    is_open = "additionalProperties" in schema or "patternProperties" in schema
    if not is_open and "properties" in schema:
        return known
    others = st.dictionaries(
        st.sampled_from(["a", "b", "c", "ax", "zz"]),
        st.one_of(
            _documents(schema.get("additionalProperties"), root, depth - 1),
            *(
                _documents(e, root, depth - 1)
                for e in schema.get("patternProperties", {}).values()
            ),
        ),
        max_size=2,
    )
    return st.tuples(others, known).map(lambda each: {**each[0], **each[1]})
