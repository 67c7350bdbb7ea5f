"""The words of JSON Schema (2020-12) that are understood, and how a schema is read.

Everything here works on plain JSON values; nothing is fetched, and no pattern is run.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

#: A schema as it stands: an object, or true or false.
Schema = Any

KINDS: Final = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
#: They ask nothing of a document.
ANNOTATIONS: Final = frozenset(
    {
        *("$defs", "definitions", "$schema", "$comment", "title", "description", "default"),
        *("examples", "deprecated", "readOnly", "writeOnly", "discriminator"),
        # Not asked of a document by the standard, whatever they are called.
        *("contentMediaType", "contentEncoding", "contentSchema"),
    }
)
#: What is asked of documents of one kind only.
OF_NUMBERS: Final = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
OF_STRINGS: Final = frozenset({"minLength", "maxLength", "pattern", "format"})
OF_ARRAYS: Final = frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})
OF_OBJECTS: Final = frozenset(
    {
        *("properties", "required", "additionalProperties", "patternProperties"),
        *("propertyNames", "minProperties", "maxProperties"),
    }
)
#: Asked of any document.
OF_ALL: Final = frozenset({"type", "enum", "const", "$ref", "allOf", "anyOf", "oneOf"})
UNDERSTOOD: Final = OF_NUMBERS | OF_STRINGS | OF_ARRAYS | OF_OBJECTS | OF_ALL
#: Words of the standard that ask something, and are not understood. Any other word asks nothing.
NOT_UNDERSTOOD: Final = frozenset(
    {
        *("not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies"),
        *("contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties"),
        *("$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor", "$vocabulary"),
        "additionalItems",
    }
)
#: A reference that leads to a reference, and so on.
MOST_REFERENCES: Final = 20


class NotUnderstood(Exception):
    """A schema says something that is not understood here; the text says what."""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole schema, which its references point into."""

    root: Schema

    def parts(self, schema: Schema) -> list[Schema]:
        """Return schemas that together ask the same, none of them with ``allOf`` or ``$ref``.

        Raises:
            NotUnderstood: a reference leads nowhere, or round in a circle.
        """
        return list(self._parts(schema, 0))

    def _parts(self, schema: Schema, depth: int) -> Iterator[Schema]:
        if depth > MOST_REFERENCES:
            raise NotUnderstood("a reference that leads to itself")
        if not isinstance(schema, Mapping):
            if not isinstance(schema, bool):
                raise NotUnderstood("something that is no schema")
            yield schema
            return
        inner: list[Schema] = []
        if "$ref" in schema:
            inner.append(self._at(schema["$ref"]))
        if "allOf" in schema:
            inner.extend(listed(schema, "allOf"))
        if not inner:
            yield schema
            return
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        if asking(rest):
            yield rest
        for each in inner:
            yield from self._parts(each, depth + 1)

    def _at(self, reference: Any) -> Schema:
        """Return what a JSON pointer of this document points at (RFC 6901)."""
        if not isinstance(reference, str) or not (reference + "/").startswith("#/"):
            raise NotUnderstood(f"the reference {reference!r:.100}")
        found = self.root
        for part in reference[1:].split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or key not in found:
                raise NotUnderstood(f"the reference {reference!r:.100}, which leads nowhere")
            found = found[key]
        return found


def asking(schema: Mapping[str, Any]) -> set[str]:
    """Return the words of a schema that ask something of a document."""
    return {word for word in schema if word in UNDERSTOOD or word in NOT_UNDERSTOOD}


def kinds_of(schema: Schema) -> frozenset[str]:
    """Return the kinds that its ``type`` leaves; ``number`` includes ``integer``.

    Raises:
        NotUnderstood: its ``type`` is none.
    """
    if schema is False:
        return frozenset()
    if schema is True:
        return KINDS
    kinds = KINDS
    if "type" in schema:
        named = schema["type"]
        names = [named] if isinstance(named, str) else named
        if not isinstance(names, list) or not all(
            isinstance(name, str) and name in KINDS for name in names
        ):
            raise NotUnderstood(f"the type {named!r:.100}")
        kinds = frozenset(names)
    if "number" in kinds:
        kinds |= {"integer"}
    return kinds


def values_of(schema: Schema) -> list[Any] | None:
    """Return the values that ``enum`` or ``const`` leave; None: they do not tell."""
    if not isinstance(schema, Mapping):
        return None
    if "const" in schema:
        return [schema["const"]]
    return listed(schema, "enum") if "enum" in schema else None


def kind_of(value: Any) -> str:
    """Return the kind of a value, ``integer`` of 1.0 too."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def same(first: Any, second: Any) -> bool:
    """Return whether two JSON values are the same: 1 is 1.0, and not true."""
    return canonical(first) == canonical(second)


def canonical(value: Any) -> str:
    """Return the one text of a JSON value."""
    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"))


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def listed(schema: Mapping[str, Any], word: str) -> list[Any]:
    """Return the list that a word has; empty where it is not there."""
    value = schema.get(word, [])
    if not isinstance(value, list):
        raise NotUnderstood(f"{word} without a list")
    return value


def mapped(schema: Mapping[str, Any], word: str) -> Mapping[str, Any]:
    """Return the object that a word has; empty where it is not there."""
    value = schema.get(word, {})
    if not isinstance(value, Mapping):
        raise NotUnderstood(f"{word} without an object")
    return value


def number(schema: Mapping[str, Any], word: str) -> float | int | None:
    """Return the number that a word has; None where it is not there."""
    value = schema.get(word)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NotUnderstood(f"{word} without a number")
    return value
