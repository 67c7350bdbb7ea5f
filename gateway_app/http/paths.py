"""The path of a request: its segments, decoded one by one, or a reason to refuse it.

Decoded as a whole, ``a%2Fb`` would be two segments, and ``..%2F`` a way out of the route that was
matched. So a path is split as it came, and each part decoded by itself.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway_app.http.problem import Problem

#: Longer ones are no path of ours, and would fill logs.
MAX_PATH_BYTES: Final = 8_192
#: Most paths: nothing to decode, and nothing to refuse.
_PLAIN: Final = re.compile(rb"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*){1,50}")
#: What separates segments for some server or file system that a segment may reach.
_SEPARATORS: Final = re.compile(r"[/\\]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def segments_of(raw_path: bytes) -> tuple[str, ...]:
    """Return the decoded segments of a path as it came over the wire, without the query.

    Raises:
        Problem: 400 for what means different things to different servers (dot segments, control
            characters, no UTF-8), 414 for what is too long.
    """
    if len(raw_path) > MAX_PATH_BYTES:
        raise Problem(HTTPStatus.REQUEST_URI_TOO_LONG, f"longer than {MAX_PATH_BYTES} bytes")
    if _PLAIN.fullmatch(raw_path):
        return tuple(raw_path[1:].decode().split("/"))
    if not raw_path.startswith(b"/"):
        raise _refused("it does not begin with a slash")
    return tuple(_decoded(part) for part in raw_path[1:].split(b"/"))


def has_hidden_separator(segments: Iterable[str]) -> bool:
    """Return whether a decoded segment would be several to a server that decodes before it splits.

    Such a path may lead elsewhere there than the route that was matched here.
    """
    return any(_SEPARATORS.search(segment) for segment in segments)


def _decoded(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise _refused("a segment is not UTF-8") from None
    if _CONTROL.search(text):
        raise _refused("a segment has control characters")
    # Some servers take "..;x" for "..": what follows a semicolon is a parameter to them.
    names = (each.partition(";")[0] for each in _SEPARATORS.split(text))
    if any(name in (".", "..") for name in names):
        raise _refused("it has dot segments")
    return text


def _refused(why: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, f"the path is refused: {why}")
