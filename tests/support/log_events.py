"""The catalogue of log events, from the code: ``python -m tests.support.log_events`` writes it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.processes import ROOT

DOCUMENT: Final = ROOT / "docs" / "log_events.md"
PACKAGES: Final = ("messaging", "gateway_app", "services")
LEVELS: Final = ("debug", "info", "warning", "error", "exception", "critical")
_HEAD: Final = """# Log events

With `LOG_FORMAT=json` every line of gateway and workers is a JSON object: `at`, `level`,
`logger`, `event`, `text`, `pid`; while a message is being handled also `message_id`,
`message_type`, `source`, `correlation_id`; within a trace `trace_id`; with an error `exc_info`.
No line has what a message says. `event` is what stands below, whatever it is about: count and
alert by it. This list is written from the code (`python -m tests.support.log_events`), and a test
holds it to that.

| event | level | logger |
|---|---|---|
"""


class LogEvent(NamedTuple):
    """A text that the code writes to its log."""

    logger: str
    level: str
    event: str
    #: Whether it is the same each time.
    is_constant: bool


def in_code() -> list[LogEvent]:
    """Return what the code writes, by logger and in its order."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [event for path in paths for event in _of_file(path)]


def document() -> str:
    """Return the catalogue as a document."""
    rows = (f"| `{_cell(each.event)}` | {each.level} | `{each.logger}` |" for each in in_code())
    return _HEAD + "\n".join(rows) + "\n"


def _of_file(path: Path) -> Iterator[LogEvent]:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="logger"), attr=level), args=[text, *_]
            ) if level in LEVELS:
                yield _event(name, "error" if level == "exception" else level, text)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="logger"), attr="log"), args=[_, text, *_]
            ):
                yield _event(name, "depends", text)


def _event(logger: str, level: str, node: ast.expr) -> LogEvent:
    is_constant = isinstance(node, ast.Constant)
    text = str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)
    return LogEvent(logger, level, text, is_constant)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("`", "'")


if __name__ == "__main__":
    DOCUMENT.write_text(document())
