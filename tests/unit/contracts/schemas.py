"""JSON Schemas as pydantic makes them, changes to them, and documents that a sender may send."""

import copy
import random
from typing import Any, Final

from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

NAMES: Final = ("a", "b", "c", "d")
DEFS: Final = ("Tree", "Colour")
NUMBER_BOUNDS: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
FORMATS: Final = {"date": "2026-03-01", "uuid": "6d1a7c3e-5f0b-4a43-9a3c-8a1d2f6b7c90"}
VALUES: Final = (None, True, False, 0, 1, 1.0, 2.5, -3, 7, "", "x", "red", "abcdef", [], {})

formats = FormatChecker(formats=())


@formats.checks("date")
def _is_date(value: Any) -> bool:
    return not isinstance(value, str) or value == FORMATS["date"]


@formats.checks("uuid")
def _is_uuid(value: Any) -> bool:
    return not isinstance(value, str) or value == FORMATS["uuid"]


def oracle(schema: Any) -> Draft202012Validator:
    """What the standard says of documents, formats included."""
    return Draft202012Validator(schema, format_checker=formats)


def closed(schema: Any) -> Any:
    """The schema of documents without fields that it does not name; for alternatives, each."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    values = ("not", "const", "enum")
    found = {word: each if word in values else closed(each) for word, each in schema.items()}
    others = ("additionalProperties", "patternProperties")
    if isinstance(schema.get("properties"), dict) and not any(word in schema for word in others):
        found["additionalProperties"] = False
    return found


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    for word in NUMBER_BOUNDS:
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
    is_named: bool = draw(st.booleans())
    if properties or is_named:
        schema["properties"] = properties
        required = [name for name in properties if draw(st.booleans())]
        if required:
            schema["required"] = required
    others = draw(st.sampled_from(["", "", "", "", "", "no", "some", "pattern", "names"]))
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
    numbers(),
    texts(),
)
referring = st.sampled_from(DEFS).map(lambda name: {"$ref": f"#/$defs/{name}"})
parts = st.recursive(st.one_of(simple, simple, referring), compound, max_leaves=6)
few = st.lists(simple, min_size=1, max_size=3).map(lambda each: {"anyOf": each})


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
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        place = draw(st.sampled_from(_places(other)))
        words = [word for word in place if word not in ("$defs", "Tree", "Colour", "$ref")]
        properties = place.get("properties")
        takes_away: bool = draw(st.booleans())
        if words and takes_away:
            place.pop(draw(st.sampled_from(words)))
        elif isinstance(properties, dict) and "type" in place:
            name = draw(st.sampled_from(NAMES))
            what = draw(st.sampled_from(["field", "required", "closed"]))
            if what == "field":
                properties[name] = draw(simple)
            elif what == "required":
                place["required"] = sorted({*place.get("required", ()), *list(properties)[:1]})
            else:
                place["additionalProperties"] = False
        elif "type" in place:
            place["type"] = draw(st.sampled_from(["number", "string", "object", "integer"]))
    return other


def pairs() -> st.SearchStrategy[tuple[dict[str, Any], dict[str, Any]]]:
    """What is sent and what is taken: alike, so that the one may well include the other."""
    alike = [numbers(), texts(), lists(simple), objects(simple), tagged(simple), few]
    changes = schemas().flatmap(lambda schema: st.tuples(st.just(schema), changed(schema)))
    two = st.one_of(*(st.tuples(each, each) for each in alike), changes, changes)
    return st.tuples(two, st.booleans()).map(lambda both: both[0] if both[1] else both[0][::-1])


class Documents:
    """Documents near a schema, at its edges; whether they are valid by it, the oracle says."""

    def __init__(self, schema: Any, seed: int) -> None:
        self._root = schema
        self._random = random.Random(seed)

    def one(self) -> Any:
        return self._near(self._root, 6)

    def _near(self, schema: Any, depth: int) -> Any:
        chance = self._random
        if not isinstance(schema, dict) or depth == 0:
            return chance.choice(VALUES)
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else chance.choice(schema["enum"])
        inner = [each for word in ("anyOf", "oneOf", "allOf") for each in schema.get(word, ())]
        if "$ref" in schema:
            inner.append(self._root["$defs"][schema["$ref"][8:]])
        kinds = schema.get("type", ())
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        if "properties" in schema and not kinds:
            kinds.append("object")
        choices = inner + kinds
        chosen = chance.choice(choices) if choices else None
        if not isinstance(chosen, str):
            return self._near(chosen, depth - 1)
        if chosen == "object":
            return self._object(schema, depth)
        if chosen == "array":
            return self._array(schema, depth)
        if chosen in ("integer", "number"):
            return self._number(schema, chosen)
        return self._text(schema) if chosen == "string" else chance.choice([None, True, False])

    def _number(self, schema: Any, kind: str) -> Any:
        bounds = [schema[word] for word in NUMBER_BOUNDS if word in schema] or [0]
        steps = [-4, -2, -1, 0, 1, 2, 3, 4, 8]
        near = self._random.choice(bounds) + self._random.choice(steps)
        return near + self._random.choice([0, 0, 0.5, 0.25]) if kind == "number" else round(near)

    def _text(self, schema: Any) -> str:
        if schema.get("format") in FORMATS and self._random.random() < 0.8:
            return FORMATS[schema["format"]]
        least, most = schema.get("minLength", 0), schema.get("maxLength", 6)
        length = self._random.choice([least, most, most + 1])
        return "".join(self._random.choice("abc") for _ in range(length))

    def _array(self, schema: Any, depth: int) -> list[Any]:
        first, least = schema.get("prefixItems", []), schema.get("minItems", 0)
        most = schema.get("maxItems", len(first) + 2)
        rest = schema.get("items")
        length = self._random.choice([least, len(first), most])
        shapes = [first[at] if at < len(first) else rest for at in range(length)]
        items = [self._near(shape, depth - 1) for shape in shapes]
        return [items[0]] * len(items) if items and self._random.random() < 0.2 else items

    def _object(self, schema: Any, depth: int) -> dict[str, Any]:
        chance = self._random
        properties, required = schema.get("properties", {}), schema.get("required", ())
        likely = chance.choice([0, 0.5, 1])
        found = {
            name: self._near(each, depth - 1)
            for name, each in properties.items()
            if name in required or chance.random() < likely
        }
        patterns = list(schema.get("patternProperties", {}).values())
        is_open = "additionalProperties" in schema or patterns or "properties" not in schema
        for _ in range(chance.choice([0, 1, 2]) if is_open else 0):
            others = [schema.get("additionalProperties", {}), *patterns]
            name = chance.choice([*NAMES, "ax", "zz"])
            if name not in properties:
                found[name] = self._near(chance.choice(others), depth - 1)
        return found
