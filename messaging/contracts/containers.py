"""Lists and objects: what of their items and fields has to be compared, and what is missing."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from messaging.contracts.gaps import Gap, Verdict, below, doubted
from messaging.contracts.plain import Plain
from messaging.contracts.schema_words import (
    NotUnderstood,
    Schema,
    listed,
    mapped,
    number,
)

#: Compares what is sent in a field with what is taken there.
Compare = Callable[[Schema, Schema, str], list[Gap]]


def list_gaps(
    sent: Plain, taken: Mapping[str, Any], field: str, compare: Compare
) -> Iterator[Gap]:
    """Yield why lists that are sent may not be taken."""
    sure = _sure(sent)
    first, rest = _items(sent.words)
    wanted_first, wanted_rest = _items(taken)
    most = number(sent.words, "maxItems")
    if rest is False:
        most = len(first) if most is None else min(most, len(first))
    least, wanted_least = number(sent.words, "minItems") or 0, number(taken, "minItems") or 0
    if least < wanted_least:
        yield Gap(field, sure, f"expected {wanted_least} items or more, may have {least}")
    wanted_most = number(taken, "maxItems")
    if wanted_most is not None and (most is None or most > wanted_most):
        shown = "any number" if most is None else most
        yield Gap(field, sure, f"expected {wanted_most} items at most, may have {shown}")
    is_single = most is not None and most <= 1
    if taken.get("uniqueItems") and not (sent.words.get("uniqueItems") or is_single):
        yield Gap(field, sure, "expected each item once, may have one twice")
    placed = max(len(first), len(wanted_first))
    for place in range(placed if most is None else min(placed, int(most))):
        item = first[place] if place < len(first) else rest
        wanted = wanted_first[place] if place < len(wanted_first) else wanted_rest
        yield from compare(item, wanted, f"{field}[{place}]")
    if most is None or most > placed:
        yield from compare(rest, wanted_rest, f"{field}[]")


def object_gaps(
    sent: Plain, taken: Mapping[str, Any], field: str, compare: Compare
) -> Iterator[Gap]:
    """Yield why objects that are sent may not be taken."""
    sure = _sure(sent)
    for name in listed(taken, "required"):
        if name not in sent.required:
            what = "may be left out" if name in sent.properties else "is not sent"
            yield Gap(below(field, str(name)), sure, f"is required, and {what}")
    yield from _named_gaps(sent, taken, field, compare)
    yield from _pattern_gaps(sent, taken, field, compare)
    if "propertyNames" in taken:
        yield from _name_gaps(sent, taken["propertyNames"], field, compare)
    least = max(number(sent.words, "minProperties") or 0, len(sent.required))
    wanted_least = number(taken, "minProperties") or 0
    if least < wanted_least:
        yield Gap(field, sure, f"expected {wanted_least} fields or more, may have {least}")
    most = number(sent.words, "maxProperties")
    if most is None and sent.additional is False and not mapped(sent.words, "patternProperties"):
        most = len(sent.properties)
    wanted_most = number(taken, "maxProperties")
    if wanted_most is not None and (most is None or most > wanted_most):
        yield Gap(field, sure, f"expected {wanted_most} fields at most, may have more")


def _named_gaps(
    sent: Plain, taken: Mapping[str, Any], field: str, compare: Compare
) -> Iterator[Gap]:
    """Compare fields that either side names, and the others with each other."""
    wanted = mapped(taken, "properties")
    others = taken.get("additionalProperties", True)
    # What patterns take is compared apart, where nobody can tell which names they mean.
    is_patterned = bool(mapped(taken, "patternProperties"))
    unnamed = [*mapped(sent.words, "patternProperties").values(), sent.additional]
    for name, schema in sent.properties.items():
        if name in wanted:
            yield from compare(schema, wanted[name], below(field, name))
        elif others is False and not is_patterned:
            if schema is not False:
                yield Gap(below(field, name), _sure(sent), "is sent, and no such field is taken")
        else:
            gaps = compare(schema, others, below(field, name))
            yield from doubted(gaps) if is_patterned else gaps
    for name, schema in wanted.items():
        if name not in sent.properties:
            for each in unnamed:
                yield from compare(each, schema, below(field, name))
    for each in unnamed:
        gaps = compare(each, others, below(field, "*"))
        yield from doubted(gaps) if is_patterned else gaps


def _pattern_gaps(
    sent: Plain, taken: Mapping[str, Any], field: str, compare: Compare
) -> Iterator[Gap]:
    """Compare with what is taken under names of a pattern, which no pattern is run for."""
    known = mapped(sent.words, "patternProperties")
    for pattern, schema in mapped(taken, "patternProperties").items():
        where = below(field, f"/{pattern}/")
        if pattern in known:
            yield from compare(known[pattern], schema, where)
        elif sent.additional is not False:
            yield from doubted(compare(sent.additional, schema, where))
        for other, each in known.items():
            if other != pattern:
                yield from doubted(compare(each, schema, where))
        for name, each in sent.properties.items():
            yield from doubted(compare(each, schema, below(field, name)))


def _name_gaps(sent: Plain, wanted: Schema, field: str, compare: Compare) -> Iterator[Gap]:
    for name in sent.properties:
        yield from compare({"const": name}, wanted, below(field, f"{name} (its name)"))
    if sent.additional is not False or mapped(sent.words, "patternProperties"):
        names = {"allOf": [{"type": "string"}, sent.words.get("propertyNames", True)]}
        yield from compare(names, wanted, below(field, "* (its name)"))


def _items(words: Mapping[str, Any]) -> tuple[list[Schema], Schema]:
    """Return the schemas of the first items, and of those after them."""
    rest = words.get("items", True)
    if isinstance(rest, list):
        raise NotUnderstood("items with a list, as drafts of JSON Schema before 2020-12 have it")
    return listed(words, "prefixItems"), rest


def _sure(sent: Plain) -> Verdict:
    return Verdict.BREAKS if sent.is_exact else Verdict.UNKNOWN
