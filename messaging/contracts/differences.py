"""What is different between two contracts, message by message and field by field."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from messaging.contracts.contract import Contract
from messaging.contracts.gaps import below
from messaging.contracts.schema_words import Document, asking, canonical, listed, mapped, same

#: Fields in fields that are shown each on a line of its own.
MOST_LEVELS: Final = 8
#: Lines of one message.
MOST_FIELDS: Final = 1000
#: Words that are shown as fields of their own.
_INNER: Final = frozenset(
    {"properties", "required", "items", "additionalProperties", "anyOf", "oneOf"}
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One message, or one field of it, that is not the same."""

    #: ``+`` there now, ``-`` not there any more, ``~`` something else.
    sign: str
    #: ``accepts document.get``, ``sends document.created``, ``answers document.get``.
    what: str
    #: Empty: the message as a whole.
    field: str
    text: str

    def to_json(self) -> dict[str, str]:
        """Return it as ``bus_contracts diff --json`` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}

    def line(self) -> str:
        """Return it as one line for people."""
        where = f" {self.field}" if self.field else ""
        return f"{self.sign} {self.what}{where}" + (f": {self.text}" if self.text else "")


def differences(old: Contract, new: Contract) -> list[Difference]:
    """Return what changed from one contract to another, in the order of messages."""
    before, after = _schemas(old), _schemas(new)
    found: list[Difference] = []
    for what in sorted(before.keys() | after.keys()):
        if what not in after:
            found.append(Difference("-", what, "", ""))
        elif what not in before:
            found.append(Difference("+", what, "", ""))
        else:
            found.extend(_between(what, before[what], after[what]))
    return found


def fields(schema: Any) -> dict[str, str]:
    """Return each field of a schema with a line that says what it is, in a stable order."""
    found: dict[str, str] = {}
    try:
        for name, said in _Fields(Document(schema)).of(schema, "", is_required=True):
            found[name] = said
            if len(found) >= MOST_FIELDS:
                break
    except Exception as exc:
        # Schemas come from outside: what is wrong with one must not hide all the others.
        found["…"] = f"not understood: {exc!s:.200}"
    return found


def _schemas(contract: Contract) -> dict[str, Any]:
    """Return the schemas of a contract by what they are of."""
    found: dict[str, Any] = {}
    for pattern, each in contract.accepts.items():
        found[f"accepts {pattern}"] = each.schema
        if each.answers is not None:
            found[f"answers {pattern}"] = each.answers
    for sent in contract.sends:
        what = f"sends {sent.type}" + (f" to {sent.to}" if sent.to else "")
        found[what] = sent.schema
        if sent.answer is not None:
            found[f"{what}, needs of the answer"] = sent.answer
    return found


def _between(what: str, old: Any, new: Any) -> Iterator[Difference]:
    if same(old, new):
        return
    if old is None or new is None:
        yield Difference("~", what, "", "a schema now" if old is None else "no schema any more")
        return
    before, after = fields(old), fields(new)
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield Difference("-", what, name, before[name])
        elif name not in before:
            yield Difference("+", what, name, after[name])
        elif before[name] != after[name]:
            yield Difference("~", what, name, f"{before[name]} → {after[name]}")


class _Fields:
    def __init__(self, document: Document) -> None:
        self._document = document
        #: Types that are being shown: inside of itself one is not shown again.
        self._open: list[int] = []

    def of(self, schema: Any, name: str, *, is_required: bool) -> Iterator[tuple[str, str]]:
        parts = self._parts(schema)
        if name:
            said = self._said(parts)
            yield name, said if is_required else f"{said}, optional"
        for part in parts:
            if id(part) in self._open or len(self._open) >= MOST_LEVELS:
                continue
            self._open.append(id(part))
            yield from self._inner(part, name, is_required=is_required)
            self._open.pop()

    def _inner(
        self, part: Mapping[str, Any], name: str, *, is_required: bool
    ) -> Iterator[tuple[str, str]]:
        required = listed(part, "required")
        for inner, each in mapped(part, "properties").items():
            yield from self.of(each, below(name, inner), is_required=inner in required)
        if isinstance(part.get("items"), Mapping):
            yield from self.of(part["items"], f"{name}[]", is_required=True)
        if isinstance(part.get("additionalProperties"), Mapping):
            yield from self.of(part["additionalProperties"], below(name, "*"), is_required=True)
        for branch in _branches(part):
            found = self.of(branch, name, is_required=is_required)
            yield from (each for each in found if each[0] != name)

    def _said(self, parts: list[Mapping[str, Any]]) -> str:
        """Return what a schema asks, its fields and items apart, in one line."""
        said: list[str] = []
        for part in parts:
            for word in sorted(asking(part) - _INNER):
                value = part[word]
                if word == "type":
                    said.insert(0, value if isinstance(value, str) else " or ".join(value))
                else:
                    said.append(f"{word} {canonical(value)[:80]}")
            if part.get("additionalProperties") is False:
                said.append("no other fields")
            branches = [self._said(self._parts(branch)) for branch in _branches(part)]
            if branches:
                said.append(" or ".join(dict.fromkeys(branches)))
        return ", ".join(said) or "anything"

    def _parts(self, schema: Any) -> list[Mapping[str, Any]]:
        return [part for part in self._document.parts(schema) if isinstance(part, Mapping)]


def _branches(part: Mapping[str, Any]) -> list[Any]:
    return [*listed(part, "anyOf"), *listed(part, "oneOf")]
