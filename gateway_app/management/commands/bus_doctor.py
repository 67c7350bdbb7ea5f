"""``manage.py bus_doctor``: is this installation well, and if not, how to mend it."""

import itertools
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from gateway_app.commands import BusCommand
from gateway_app.doctor import Finding, Grade, examine

_MARKS: Final = {
    Grade.FINE: "✓",
    Grade.WARNING: "!",
    Grade.BROKEN: "✗",
    Grade.NOT_LOOKED_AT: "·",
}
#: Lines are no longer than this on any terminal.
_MOST_COLUMNS: Final = 100


class Command(BusCommand):
    """Looks at every layer from settings to HTTP, and says what to mend."""

    help = "Look at every layer of this installation; say what is wrong and how to mend it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--json`` and ``--fail-on-warning``."""
        parser.add_argument("--json", action="store_true", help="print only JSON")
        parser.add_argument(
            "--fail-on-warning", action="store_true", help="exit 1 also where there is a warning"
        )

    def run(self, options: dict[str, Any]) -> None:
        """Look, print, and fail (exit 1) where something is broken."""
        findings = examine()
        counts = Counter(finding.grade for finding in findings)
        if options["json"]:
            self.print_json([finding.to_json() for finding in findings])
        else:
            self._print(findings, counts)
        if counts[Grade.BROKEN] or (options["fail_on_warning"] and counts[Grade.WARNING]):
            raise CommandError(_summary(counts))

    def _print(self, findings: list[Finding], counts: Counter[Grade]) -> None:
        columns = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
        width = max(len(finding.name) for finding in findings)
        for layer, group in itertools.groupby(findings, lambda finding: finding.layer):
            self.stdout.write(self.style.MIGRATE_HEADING(layer))
            for finding in group:
                for line in _lines(finding, width, columns):
                    self.stdout.write(self._coloured(finding.grade, line))
        if not counts[Grade.BROKEN]:
            self.stdout.write(f"\n{_summary(counts)}")

    def _coloured(self, grade: Grade, line: str) -> str:
        styles = {Grade.BROKEN: self.style.ERROR, Grade.WARNING: self.style.WARNING}
        return styles[grade](line) if grade in styles else line


def _lines(finding: Finding, width: int, columns: int) -> Iterator[str]:
    """Return a finding as lines: what was seen, and how to mend it."""
    text = finding.text
    if finding.grade is Grade.NOT_LOOKED_AT:
        text = f"not looked at: {text}"
    yield from _wrapped(f"  {_MARKS[finding.grade]} {finding.name.ljust(width)}  ", text, columns)
    if finding.fix:
        margin = " " * (width + 6)
        yield from _wrapped(f"{margin}→ ", f"{finding.fix} ({finding.id})", columns)


def _wrapped(start: str, text: str, columns: int) -> list[str]:
    margin = " " * len(start)
    # An address stays whole, to be copied.
    return textwrap.wrap(
        text,
        columns,
        initial_indent=start,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summary(counts: Counter[Grade]) -> str:
    warnings = counts[Grade.WARNING]
    parts = (
        (counts[Grade.BROKEN], "broken"),
        (warnings, "warning" if warnings == 1 else "warnings"),
        (counts[Grade.FINE], "fine"),
        (counts[Grade.NOT_LOOKED_AT], "not looked at"),
    )
    return ", ".join(f"{count} {name}" for count, name in parts if count)
