"""What a sender's schema lets be sent, as alternatives of one kind each.

A sender sends what its schema takes, and no fields that it does not name: a model of pydantic's
leaves those out unless it allows others, and then its schema says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from messaging.contracts.schema_words import (
    NOT_UNDERSTOOD,
    UNDERSTOOD,
    Document,
    NotUnderstood,
    Schema,
    asking,
    canonical,
    kind_of,
    kinds_of,
    listed,
    mapped,
    same,
    values_of,
)

#: Unions in unions; each multiplies the alternatives.
MOST_LEVELS: Final = 12
MOST_ALTERNATIVES: Final = 500


@dataclass(frozen=True, slots=True)
class Plain:
    """Documents of one kind, by words that are understood."""

    kind: str
    words: Mapping[str, Any]
    #: The only values; None: any that the words take.
    values: Sequence[Any] | None
    #: Whether every such document may be sent; else it is only sure that no others are.
    is_exact: bool
    #: Whether it may have fields that no word here names.
    is_open: bool

    @property
    def properties(self) -> Mapping[str, Schema]:
        """The fields that are named, with their schemas; those that are always there, too."""
        unnamed = dict.fromkeys(self.required, self.words.get("additionalProperties", True))
        return {**unnamed, **mapped(self.words, "properties")}

    @property
    def required(self) -> frozenset[str]:
        """The fields that are always there."""
        return frozenset(name for name in listed(self.words, "required") if type(name) is str)

    @property
    def additional(self) -> Schema:
        """The schema of fields that are not named; False: there are none."""
        if self.is_open:
            return True
        if "additionalProperties" in self.words:
            return self.words["additionalProperties"]
        if "patternProperties" in self.words:
            return True
        return "properties" not in self.words


@dataclass(frozen=True, slots=True)
class _Merged:
    """The words of several schemas that all hold, unions apart."""

    words: dict[str, Any]
    unions: list[list[Any]]
    is_exact: bool
    is_open: bool


def alternatives(document: Document, schema: Schema) -> list[Plain]:
    """Return alternatives that together let through all that a schema does, and perhaps more.

    Raises:
        NotUnderstood: it cannot be read, or has too many alternatives.
    """
    found: list[Plain] = []
    for plain in _expanded(document, [schema], 0):
        found.append(plain)
        if len(found) > MOST_ALTERNATIVES:
            raise NotUnderstood(f"more than {MOST_ALTERNATIVES} alternatives")
    return found


def _expanded(
    document: Document,
    schemas: Sequence[Schema],
    level: int,
    *,
    is_exact: bool = True,
    is_open: bool = False,
) -> Iterator[Plain]:
    if level > MOST_LEVELS:
        raise NotUnderstood("unions in unions without an end")
    parts = [part for schema in schemas for part in document.parts(schema)]
    if any(part is False for part in parts):
        return
    merged = _merge([part for part in parts if isinstance(part, Mapping)])
    is_exact, is_open = is_exact and merged.is_exact, is_open or merged.is_open
    if not merged.unions:
        yield from _by_kind(merged.words, is_exact=is_exact, is_open=is_open)
        return
    branches, *others = merged.unions
    for branch in branches:
        yield from _expanded(
            document,
            [merged.words, branch],
            level + 1,
            is_exact=is_exact and not others,
            is_open=is_open or bool(others),
        )


def _merge(parts: Sequence[Mapping[str, Any]]) -> _Merged:
    """Merge schemas into words that ask for no more than they all do together."""
    asked = [asking(part) for part in parts]
    #: Words of several schemas, each of which sees only its own: the whole may ask for more.
    is_exact = sum(map(bool, asked)) <= 1
    is_open = False
    words: dict[str, Any] = {}
    unions: list[list[Any]] = []
    for part, present in zip(parts, asked, strict=True):
        if present & NOT_UNDERSTOOD:
            is_exact, is_open = False, True
        for word in present & UNDERSTOOD:
            if word in ("anyOf", "oneOf"):
                unions.append(listed(part, word))
            elif word == "required":
                words[word] = [*words.get(word, ()), *listed(part, word)]
            elif word not in words:
                words[word] = part[word]
            elif not same(words[word], part[word]):
                # The first alone asks for less than both; fields of the other are some, too.
                is_open = True
    return _Merged(words, unions, is_exact, is_open)


def _by_kind(words: Mapping[str, Any], *, is_exact: bool, is_open: bool) -> Iterator[Plain]:
    kinds = kinds_of(words)
    values = values_of(words)
    if values is None:
        # A number may be an integer: that is no alternative of its own.
        for kind in sorted(kinds - {"integer"} if "number" in kinds else kinds):
            yield Plain(kind, words, None, is_exact, is_open)
        return
    by_kind: dict[str, list[Any]] = {}
    for value in {canonical(value): value for value in values}.values():
        if kind_of(value) in kinds:
            by_kind.setdefault(kind_of(value), []).append(value)
    for kind, found in sorted(by_kind.items()):
        yield Plain(kind, words, found, is_exact, is_open)
