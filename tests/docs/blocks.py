"""The fenced blocks of all pages, in their order."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.processes import ROOT

PAGES: Final = tuple(
    str(path.relative_to(ROOT))
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "services").glob("*/README.md")),
        *sorted((ROOT / "examples").glob("*/README.md")),
    )
)
_FENCE: Final = re.compile(
    r"^```(?P<language>\w*) ?(?P<name>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """What stands between two fences of a page."""

    page: str
    #: From 0, of all blocks of the page.
    number: int
    language: str
    #: What the fence says after its language.
    name: str
    text: str
    line: int

    @property
    def place(self) -> str:
        """Where it is, for people and editors."""
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page."""
    text = (ROOT / page).read_text()
    found = [
        Block(
            page,
            number,
            match["language"],
            match["name"].strip(),
            match["text"],
            text.count("\n", 0, match.start()) + 1,
        )
        for number, match in enumerate(_FENCE.finditer(text))
    ]
    fences = len(re.findall(r"^ *(```|~~~)", text, re.MULTILINE))
    assert fences == 2 * len(found), f"{page}: {fences} fences, of which {2 * len(found)} are read"
    return found


BLOCKS: Final = [block for page in PAGES for block in blocks_of(page)]


def path_of(page: str) -> Path:
    """Return the file of a page."""
    return ROOT / page
