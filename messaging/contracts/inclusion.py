"""Whether a receiver takes every document that a sender may send, by their JSON Schemas.

Sound: where nothing is found, every document that is valid by the sender's schema and has no
fields beyond those it names is valid by the receiver's, ``format`` included. What is not
understood is a gap of its own, never a yes. What validators in code refuse, no schema tells.
"""

from collections.abc import Mapping
from typing import Any, Final

from messaging.contracts.containers import list_gaps, object_gaps
from messaging.contracts.gaps import Gap, Verdict, doubted
from messaging.contracts.plain import Plain, alternatives
from messaging.contracts.scalars import number_faults, text_faults
from messaging.contracts.schema_words import (
    NOT_UNDERSTOOD,
    OF_ARRAYS,
    OF_OBJECTS,
    Document,
    NotUnderstood,
    Schema,
    asking,
    canonical,
    kinds_of,
    listed,
    mapped,
    same,
    values_of,
)

#: Comparisons of one schema with one other: a fraction of a second. Hostile ones would need
#: billions.
MOST_STEPS: Final = 10_000
#: Fields in fields; no document is deeper where a schema is.
MOST_LEVELS: Final = 50
#: Gaps told of one message.
MOST_GAPS: Final = 20
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def gaps_between(sent: Schema, taken: Schema) -> list[Gap]:
    """Return why a receiver may not take what a sender sends; empty: it takes all of it.

    Args:
        sent: JSON Schema of what is sent; see `plain` for what it lets be sent.
        taken: JSON Schema of what the receiver takes.
    """
    if same(sent, taken):
        return []
    for schema in (sent, taken):
        if isinstance(schema, Mapping) and schema.get("$schema", _DIALECT) != _DIALECT:
            return [_unknown("", f"the dialect {schema['$schema']!r:.100} is not understood")]
    try:
        found = _Comparison(Document(sent), Document(taken)).gaps(sent, taken, "")
    except Exception as exc:
        # Schemas come from outside. Whatever is wrong with one, it is no yes.
        text = str(exc) if isinstance(exc, NotUnderstood) else f"{type(exc).__name__}: {exc}"
        return [_unknown("", f"not understood: {text:.200}")]
    return list(dict.fromkeys(found))[:MOST_GAPS]


class _Comparison:
    """One sender's document with one receiver's."""

    def __init__(self, sender: Document, receiver: Document) -> None:
        self._sender = sender
        self._receiver = receiver
        self._steps = 0
        self._level = 0
        #: What is being compared. A recursive type comes back to where it began, some levels
        #: deeper, as only fields and items lead there: what holds there holds if the rest does.
        self._open: set[tuple[int, int]] = set()

    def gaps(self, sent: Schema, taken: Schema, field: str) -> list[Gap]:
        if taken is True or sent is False or (isinstance(taken, Mapping) and not asking(taken)):
            return []
        self._step()
        key = id(sent), id(taken)
        if key in self._open:
            return []
        self._open.add(key)
        try:
            plains = alternatives(self._sender, sent)
            return self._all_gaps(plains, taken, field)
        except NotUnderstood as exc:
            return [_unknown(field, f"not understood: {exc}")]
        finally:
            self._open.remove(key)

    def _below(self, sent: Schema, taken: Schema, field: str) -> list[Gap]:
        self._level += 1
        try:
            if self._level > MOST_LEVELS:
                return [_unknown(field, f"more than {MOST_LEVELS} levels")]
            return self.gaps(sent, taken, field)
        finally:
            self._level -= 1

    def _all_gaps(self, plains: list[Plain], taken: Schema, field: str) -> list[Gap]:
        """Return the gaps of all alternatives; those of kind as one."""
        found: list[Gap] = []
        kinds = self._kinds_taken(taken)
        strangers = [plain for plain in plains if plain.kind not in kinds]
        if strangers:
            is_sure = any(plain.is_exact for plain in strangers)
            sent = ", ".join(sorted({plain.kind for plain in strangers}))
            text = f"expected {_named(kinds)}, may be {sent}"
            found.append(Gap(field, Verdict.BREAKS if is_sure else Verdict.UNKNOWN, text))
        for plain in plains:
            if plain.kind in kinds:
                found.extend(self._plain_gaps(plain, taken, field))
        return found

    def _kinds_taken(self, taken: Schema) -> frozenset[str]:
        parts = self._receiver.parts(taken)
        return frozenset.intersection(*map(kinds_of, parts)) if parts else kinds_of(True)

    def _plain_gaps(self, sent: Plain, taken: Schema, field: str) -> list[Gap]:
        self._step()
        found = [
            gap
            for part in self._receiver.parts(taken)
            if part is not True
            for gap in self._part_gaps(sent, part, field)
        ]
        return found if sent.is_exact else doubted(found)

    def _part_gaps(self, sent: Plain, taken: Any, field: str) -> list[Gap]:
        if taken is False or sent.kind not in kinds_of(taken):
            expected = "nothing" if taken is False else _named(kinds_of(taken))
            return [Gap(field, _sure(sent), f"expected {expected}, may be {sent.kind}")]
        words = asking(taken)
        found = [
            _unknown(field, f"{word} is not understood") for word in sorted(words & NOT_UNDERSTOOD)
        ]
        if "enum" in words:
            found += _value_gaps(sent, listed(taken, "enum"), field)
        if "const" in words:
            found += _value_gaps(sent, [taken["const"]], field)
        for word in ("anyOf", "oneOf"):
            if word in words:
                found += self._union_gaps(sent, listed(taken, word), field, word == "oneOf")
        if sent.kind in ("integer", "number"):
            found += [Gap(field, *fault) for fault in number_faults(sent, taken)]
        elif sent.kind == "string":
            found += [Gap(field, *fault) for fault in text_faults(sent, taken)]
        elif sent.values is not None and words & (OF_ARRAYS | OF_OBJECTS):
            found.append(_unknown(field, f"what is asked of the only value of {sent.kind} sent"))
        elif sent.kind == "array":
            found += list_gaps(sent, taken, field, self._below)
        elif sent.kind == "object":
            found += object_gaps(sent, taken, field, self._below)
        return found

    def _union_gaps(
        self, sent: Plain, branches: list[Schema], field: str, is_exclusive: bool
    ) -> list[Gap]:
        likely = [branch for branch in branches if not self._is_disjoint(sent, branch)]
        if not likely:
            kinds = frozenset().union(*(self._kinds_taken(branch) for branch in branches))
            text = f"expected {_named(kinds)}, may be {sent.kind}"
            if sent.kind in kinds:
                text = "fits none of the alternatives that are taken"
            return [Gap(field, _sure(sent), text)]
        tried = [self._plain_gaps(sent, branch, field) for branch in likely]
        if not all(tried):
            if is_exclusive and len(likely) > 1:
                return [
                    _unknown(field, "may fit more than one of alternatives that exclude others")
                ]
            return []
        if len(tried) == 1:
            return tried[0]
        why = "; or ".join(f"{gaps[0].field or 'data'}: {gaps[0].text}" for gaps in tried[:3])
        return [_unknown(field, f"fits none of {len(tried)} alternatives as a whole: {why}")]

    def _is_disjoint(self, sent: Plain, taken: Schema) -> bool:
        """Return whether no document that is sent is taken, as far as kinds and values tell."""
        self._step()
        return any(self._excludes(part, sent) for part in self._receiver.parts(taken))

    def _excludes(self, taken: Any, sent: Plain) -> bool:
        if taken is True:
            return False
        # Of numbers some may be integers.
        kinds = {sent.kind, "integer"} if sent.kind == "number" else {sent.kind}
        if not kinds & kinds_of(taken):
            return True
        if _have_nothing_in_common(sent.values, values_of(taken)):
            return True
        for word in ("anyOf", "oneOf"):
            if word in taken and all(
                self._is_disjoint(sent, each) for each in listed(taken, word)
            ):
                return True
        if sent.kind != "object" or sent.values is not None:
            return False
        wanted = mapped(taken, "properties")
        return any(
            _have_nothing_in_common(
                _values(self._sender, sent.properties[name]), _values(self._receiver, wanted[name])
            )
            for name in sent.required & sent.properties.keys() & wanted.keys()
        )

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise NotUnderstood(f"more than {MOST_STEPS} steps")


def _value_gaps(sent: Plain, wanted: list[Any], field: str) -> list[Gap]:
    known = {canonical(value) for value in wanted}
    if sent.values is not None:
        missing = [value for value in sent.values if canonical(value) not in known]
    elif sent.kind in ("null", "boolean"):
        every = [None] if sent.kind == "null" else [False, True]
        missing = [value for value in every if canonical(value) not in known]
    else:
        is_sure = sent.kind in ("string", "number") and not (asking(sent.words) - {"type"})
        verdict = _sure(sent) if is_sure else Verdict.UNKNOWN
        return [Gap(field, verdict, f"expected {_listed(wanted)}, may be any {sent.kind}")]
    if not missing:
        return []
    return [Gap(field, _sure(sent), f"expected {_listed(wanted)}, may be {_listed(missing)}")]


def _values(document: Document, schema: Schema) -> list[Any] | None:
    """Return the only values that a schema leaves, if it says so at all."""
    for part in document.parts(schema):
        if (values := values_of(part)) is not None:
            return values
    return None


def _have_nothing_in_common(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return False
    return not set(map(canonical, first)) & set(map(canonical, second))


def _listed(values: list[Any]) -> str:
    shown = ", ".join(canonical(value)[:40] for value in values[:5])
    return f"{shown} and {len(values) - 5} more" if len(values) > 5 else shown


def _named(kinds: frozenset[str]) -> str:
    if kinds == kinds_of(True):
        return "anything"
    shown = sorted(kinds - {"integer"} if "number" in kinds else kinds)
    return " or ".join(shown) or "nothing"


def _unknown(field: str, text: str) -> Gap:
    return Gap(field, Verdict.UNKNOWN, text)


def _sure(sent: Plain) -> Verdict:
    return Verdict.BREAKS if sent.is_exact else Verdict.UNKNOWN
