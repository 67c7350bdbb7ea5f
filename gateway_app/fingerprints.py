"""Which dead letters have the same cause: told by error and traceback, never by a line number.

Pure functions of text from outside: any text has an answer, in time that grows with its length.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from messaging.deadletter import DeadLetter
from messaging.text import storable

#: Of a hash; 16 digits keep a million groups apart.
DIGITS: Final = 16
TITLE_LENGTH: Final = 200
FRAME_LENGTH: Final = 200
#: Of an error without a traceback: what tells it from others is at its beginning.
_SHAPE_LENGTH: Final = 120
_SHOWN_PARTS: Final = 2

#: Frames of exception groups have bars before them.
_FRAME = re.compile(r'^[ |]*File "([^"\n]{1,2000})", line \d+, in ([^\n]{1,300})$', re.MULTILINE)
#: Begins the part of a traceback that belongs to one exception of a chain.
_BLOCK: Final = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"([^\W\d][\w.]{0,199})(?::|$)")
_NOT_OWN = re.compile(
    r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib(?:64)?[/\\]python\d|[/\\]Python\d+[/\\]Lib[/\\]|^<"
)
#: Where the bus calls handlers: what lies beside these files is the bus, wherever it is installed.
_BUS_FILES: Final = ("attempts.py", "receiver.py", "recorded.py", "worker/consumer.py")
#: What differs between errors of one cause: ids, numbers, quoted values.
_VALUES = re.compile(
    r"'[^'\n]*'|\"[^\"\n]*\"|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|\d+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What dead letters of one cause have in common, and what this one says of it."""

    #: Hex digits; the same for the same cause, type, service and reason.
    fingerprint: str
    #: First line of the error, not empty; others of the group may quote other values.
    title: str
    #: Innermost frame of the service's own code; empty: there is none.
    frame: str


def of(letter: DeadLetter) -> Group:
    """Return the group of a dead letter."""
    message_type = (letter.envelope or {}).get("type", "")
    return group(
        error=letter.error,
        traceback=letter.traceback,
        message_type=str(message_type),
        service=letter.service,
        reason=letter.reason.value,
    )


def group(*, error: str, traceback: str, message_type: str, service: str, reason: str) -> Group:
    """Return the group that follows from what is known of a dead letter.

    With a traceback the cause is the exception's class and the innermost own frame, file and
    function; else it is the error's first line without the values in it.
    """
    frame = innermost_frame(traceback)
    first_line = _first_line(error)
    cause = exception_class(first_line) if traceback else ""
    parts = (cause or _shape(first_line), frame, message_type, service, reason)
    digest = hashlib.sha256("\0".join(map(storable, parts)).encode())
    return Group(
        fingerprint=digest.hexdigest()[:DIGITS],
        title=_cut(storable(first_line), TITLE_LENGTH) or reason,
        frame=_cut(storable(frame), FRAME_LENGTH),
    )


def exception_class(error: str) -> str:
    """Return the class an error text begins with, as ``KeyError: 'a'``; empty: with none."""
    found = _EXCEPTION.match(error)
    return found[1] if found else ""


def innermost_frame(traceback: str) -> str:
    """Return the innermost own frame, as ``billing/tax.py in apply_vat``; empty: there is none.

    Of the exception that was raised last; where none of its frames is the service's own, of those
    before it. Where no frame at all is, the innermost of the last exception.
    """
    blocks = [_FRAME.findall(block) for block in traceback.split(_BLOCK)]
    bus = _bus_folders(path for block in blocks for path, _ in block)
    for block in reversed(blocks):
        for path, function in reversed(block):
            if not _NOT_OWN.search(path) and not _slashed(path).startswith(bus):
                return _shown(path, function)
    frames = blocks[-1]
    return _shown(*frames[-1]) if frames else ""


def _bus_folders(paths: Iterable[str]) -> tuple[str, ...]:
    folders = set()
    for path in map(_slashed, paths):
        for file in _BUS_FILES:
            if path.endswith(f"/messaging/{file}"):
                folders.add(path.removesuffix(file))
    return tuple(sorted(folders))


def _shown(path: str, function: str) -> str:
    # The folders above differ from host to host.
    return f"{'/'.join(_slashed(path).split('/')[-_SHOWN_PARTS:])} in {function}"


def _slashed(path: str) -> str:
    return path.replace("\\", "/")


def _first_line(error: str) -> str:
    lines = error.strip().splitlines()
    return lines[0].strip() if lines else ""


def _shape(line: str) -> str:
    return _VALUES.sub("*", line[: 10 * _SHAPE_LENGTH])[:_SHAPE_LENGTH]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
