"""Blocks of a console as commands and what they print."""

import re
import shlex
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.docs.blocks import Block

_SEPARATORS: Final = frozenset({"&&", "||", ";", "(", ")", "|", "&"})
_ASSIGNED: Final = re.compile(r"[A-Z][A-Z0-9_]*=")


class Command(NamedTuple):
    """One program with its arguments."""

    block: Block
    words: tuple[str, ...]
    #: What the shell is told to put into its environment.
    environment: dict[str, str]
    #: What the page shows of what it prints.
    output: str

    @property
    def line(self) -> str:
        """It as text, with the place where it is shown."""
        return f"{self.block.place}: {shlex.join(self.words)}"

    @property
    def of_manage(self) -> tuple[str, ...]:
        """What follows ``manage.py``; nothing where it is another program."""
        words = self.words[1:] if self.words[0] == "python" else self.words
        return words[1:] if words and words[0] == "manage.py" else ()


def commands_in(block: Block) -> Iterator[Command]:
    """Return the commands of a block; what is printed belongs to the last of a line."""
    for line, output in _lines_of(block):
        parts = list(_parts_of(line))
        assert parts, f"{block.place}: {line!r} is no command"
        for number, words in enumerate(parts):
            environment = {}
            while words and _ASSIGNED.match(words[0]):
                name, _, value = words.pop(0).partition("=")
                environment[name] = value
            is_last = number == len(parts) - 1
            yield Command(block, tuple(words), environment, output if is_last else "")


def _lines_of(block: Block) -> Iterator[tuple[str, str]]:
    assert block.text.startswith("$ "), f"{block.place}: expected $ before the first command"
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n\s*", " ", part).partition("\n")
        yield command, output


def _parts_of(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in _SEPARATORS:
            if words:
                yield words
            words = []
        else:
            words.append(word)
    if words:
        yield words
