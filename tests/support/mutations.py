"""Messages changed at random, by a seed: what a broken client or somebody hostile may send."""

import json
import os
import random
from typing import Any, Final

#: How many times as much is changed: `make fuzz` says 10.
TIMES: Final = int(os.environ.get("TEST_TIMES", "1"))
#: Put in the place of anything.
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.1, -0.0, 1e308, float("nan")),
    *(float("inf"), "", " ", "\0", "\ud800", "ü", "x" * 10_000, "a.b", "..", "../../etc/passwd"),
    *("CRITICAL", "event", "9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00-23:59"),
    *([], {}, [[]], {"": ""}, {"__class__": "x"}, [None] * 1_000),
)
#: Pieces of text put anywhere.
PIECES: Final = (
    *(b"\0", b"\xff", b"\xc0\xaf", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\ud800", b"\\u0000"),
    *(b"NaN", b"-Infinity", b"1e999", b"\n", b"\xef\xbb\xbf", b"[" * 5_000, b'{"a":' * 5_000),
)


def mutated(body: str, seed: int) -> bytes:
    """Return a body with one to three changes; the same seed makes the same ones."""
    chance = random.Random(seed)
    text = body.encode()
    for _ in range(chance.randint(1, 3)):
        change = chance.choice((_of_value, _of_value, _of_value, _of_bytes))
        text = change(text, chance)
    return text


def _of_value(text: bytes, chance: random.Random) -> bytes:
    """Replace, remove, rename or double a value somewhere in the JSON."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return _of_bytes(text, chance)
    places = list(_places(parsed))
    if not places:
        return _of_bytes(text, chance)
    parent, key = chance.choice(places)
    match chance.randrange(4):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[chance.choice(("admin", "Type", "", key + "\0"))] = parent[key]
        case 1:
            parent.insert(key, parent[key])
        case _:
            parent[key] = chance.choice(VALUES)
    # As it is, halves of surrogate pairs and all.
    return json.dumps(parsed, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")


def _of_bytes(text: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(text))
    match chance.randrange(4):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + chance.choice(PIECES) + text[at:]
        case 2:
            return text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
        case _:
            end = chance.randint(at, len(text))
            return text[:at] + text[end:]


def _places(value: Any, depth: int = 0) -> Any:
    """Yield every container with a key or index in it."""
    if depth > 6:
        return
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key], depth + 1)
