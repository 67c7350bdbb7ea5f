"""How docstrings are read here: comments ``#:`` count, and names in backticks are links."""

import re
from typing import Any

import griffe

#: What is public, by where its members are documented.
PUBLIC = ("messaging", "messaging.testing")
NAME = re.compile(r"(?<![`\[\w])`((?:messaging\.)?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)`(?!`)")
#: What reStructuredText marks a block of text with.
LITERAL = re.compile(r"^::$\n", re.MULTILINE)


class AsWritten(griffe.Extension):
    """Reads ``#:`` above attributes as their docstrings, and makes links of names."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Go through all that was loaded."""
        self._known: dict[str, str] = {}
        for path in PUBLIC:
            module = pkg if path == pkg.path else pkg[path.removeprefix(f"{pkg.path}.")]
            for name in module.exports or ():
                self._known.setdefault(str(name), f"{path}.{name}")
        self._walk(pkg)

    def _walk(self, holder: griffe.Object) -> None:
        for member in holder.members.values():
            if member.is_alias:
                continue
            if member.is_attribute and member.docstring is None:
                text = _comment_above(member)
                if text:
                    member.docstring = griffe.Docstring(
                        text, lineno=member.lineno, parent=member, parser="google"
                    )
            if member.docstring is not None:
                member.docstring.value = self._linked(member.docstring.value, member)
            self._walk(member)

    def _linked(self, text: str, member: griffe.Object) -> str:
        return NAME.sub(lambda found: self._led(found, member), LITERAL.sub("", text))

    def _led(self, found: re.Match[str], member: griffe.Object) -> str:
        name = found[1].removeprefix("messaging.")
        head, _, rest = name.partition(".")
        holder = member if member.is_class else member.parent
        if head in self._known:
            target = self._known[head] + (f".{rest}" if rest else "")
        elif (
            not rest and holder.is_class and holder.name in self._known and head in _listed(holder)
        ):
            target = f"{self._known[holder.name]}.{head}"
        else:
            return f"`{found[1]}`"
        # Optional: what no page shows stays plain.
        return f'<autoref optional identifier="{target}">`{found[1]}`</autoref>'


def _listed(holder: griffe.Class) -> set[str]:
    return {name for name, each in holder.all_members.items() if each.has_docstring}


def _comment_above(attribute: griffe.Attribute) -> str:
    lines = attribute.lines_collection[attribute.filepath]
    number = attribute.lineno - 2
    found: list[str] = []
    while number >= 0 and lines[number].strip().startswith("#:"):
        found.insert(0, lines[number].strip().removeprefix("#:").strip())
        number -= 1
    return "\n".join(found)
