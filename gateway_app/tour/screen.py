"""What a play looks like on a terminal, and in a file."""

import shutil
import textwrap
from typing import Final

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

_INDENT: Final = " " * 4
#: Wide enough for the labels below.
_LABEL_WIDTH: Final = 10
_CLEAR_LINE: Final = "\r\x1b[K"


class Screen:
    """Prints steps as they are played.

    Args:
        out: where to.
        style: colours; Django leaves them out where ``out`` is no terminal.
    """

    def __init__(self, out: OutputWrapper, style: Style) -> None:
        self._out = out
        self._style = style
        # Nobody reads lines of a thousand columns, and Django's terminal may be a file.
        self._width = min(shutil.get_terminal_size((100, 24)).columns, 100)

    def heading(self, title: str, **facts: str) -> None:
        """Print what is about to happen, and where."""
        self._out.write(self._style.MIGRATE_HEADING(title))
        for name, text in facts.items():
            self._line(name, text)

    def begin(self, number: int, title: str, expected: str) -> None:
        """Print the head of a step."""
        self._out.write(f"\n{number:>2}  {self._style.MIGRATE_LABEL(title)}")
        self._line("expected", expected)

    def note(self, text: str) -> None:
        """Show what is being done just now; on a terminal only, until the next output."""
        if self._out.isatty():
            line = f"{_INDENT}{text}"[: self._width - 2]
            self._out.write(f"{_CLEAR_LINE}{line} …", ending="")
            self._out.flush()

    def passed(self, seen: str, seconds: float) -> None:
        """Print the end of a step that saw what it expected."""
        self._end_note()
        self._line("seen", seen)
        self._out.write(f"{_INDENT}{self._style.SUCCESS('ok')} in {_duration(seconds)}")

    def failed(self, seen: str, seconds: float) -> None:
        """Print the end of a step that did not."""
        self._end_note()
        self._line("seen", seen)
        self._out.write(f"{_INDENT}{self._style.ERROR('FAILED')} after {_duration(seconds)}")

    def log(self, name: str, text: str) -> None:
        """Print the last lines of a log."""
        self._out.write(f"\n--- {name}\n{text}")

    def end(self, text: str, *, is_good: bool) -> None:
        """Print the last line."""
        self._end_note()
        style = self._style.SUCCESS if is_good else self._style.ERROR
        self._out.write(f"\n{style(text)}")

    def _line(self, label: str, text: str) -> None:
        first = f"{_INDENT}{label.ljust(_LABEL_WIDTH)}"
        self._out.write(
            textwrap.fill(
                text,
                self._width,
                initial_indent=first,
                subsequent_indent=" " * len(first),
                # Paths and URLs are copied whole.
                break_long_words=False,
                break_on_hyphens=False,
            )
        )

    def _end_note(self) -> None:
        if self._out.isatty():
            self._out.write(_CLEAR_LINE, ending="")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
