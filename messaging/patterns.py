"""AMQP topic patterns: ``*`` stands for one word, ``#`` for any number of words, also none."""

import re
from functools import lru_cache
from itertools import product

from messaging.envelope import MAX_TYPE_LENGTH, is_message_type

_PATTERN = re.compile(r"([A-Za-z0-9_-]+|\*|#)(\.([A-Za-z0-9_-]+|\*|#))*")
#: Each `#` doubles what `without_empty_hashes` lists; nobody needs more than this.
MAX_HASHES = 4


def is_pattern(text: object) -> bool:
    """Return whether this is a topic pattern; a plain message type is one."""
    return (
        isinstance(text, str)
        and len(text) <= MAX_TYPE_LENGTH
        and _PATTERN.fullmatch(text) is not None
        and text.count("#") <= MAX_HASHES
    )


def is_literal(pattern: str) -> bool:
    """Return whether this pattern is a plain message type, without ``*`` or ``#``."""
    return is_message_type(pattern)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Every word is written with a dot before it, so that `#` may stand for nothing anywhere.
    words = {"*": r"\.[^.]+", "#": r"(?:\.[^.]+)*"}
    return re.compile(
        "".join(words.get(word, re.escape(f".{word}")) for word in pattern.split("."))
    )


def matches(pattern: str, message_type: str) -> bool:
    """Return whether a topic exchange would route this type by this pattern."""
    return _compiled(pattern).fullmatch(f".{message_type}") is not None


def specificity(pattern: str) -> tuple[int, int]:
    """Return a sort key: the more of a type a pattern names, the larger."""
    words = pattern.split(".")
    return (-words.count("#"), sum(word not in "*#" for word in words))


def without_empty_hashes(pattern: str) -> list[str]:
    r"""Return patterns that together match the same types where ``#`` needs at least one word.

    kombu's virtual topic exchange, which Redis uses, turns ``a.#`` into the regular expression
    ``^a\..*?$``: it never matches ``a``. Binding ``a`` as well makes up for that. (It also lets
    ``*`` match several words; the receiver checks `matches` again and ignores those.)
    """
    choices = [(word, None) if word == "#" else (word,) for word in pattern.split(".")]
    variants = (
        ".".join(word for word in choice if word is not None) for choice in product(*choices)
    )
    return list(dict.fromkeys(variant for variant in variants if variant))
