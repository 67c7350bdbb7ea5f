"""Payloads as people may see them: what is secret by the name of its field is not shown."""

import json
import re
from functools import lru_cache
from typing import Any, Final

from messaging.apps import configured

#: Stands where a value is hidden.
HIDDEN: Final = "[redacted]"
#: Of a payload on a page, in characters.
MOST_SHOWN: Final = 16_384
#: Deeper than this nothing is shown: payloads come from outside, and a page must not fail.
_MOST_LEVELS: Final = 32


def redacted(data: Any, may_reveal: bool = False) -> tuple[Any, int]:
    """Return a payload with the values of secret fields hidden, and how many there were.

    A field is secret if its name contains a word of the setting ``redacted_fields``: ``token``
    hides ``accessToken`` and ``access_token``. All below it is hidden with it.

    Args:
        data: any JSON value; stays as it is.
        may_reveal: whether all is to be shown.
    """
    if may_reveal:
        return data, 0
    return _redacted(data, _pattern(configured().redacted_fields), _MOST_LEVELS)


def text_of(data: Any) -> str:
    """Return a payload as indented JSON text, cut where it is too long to be read."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if len(text) <= MOST_SHOWN:
        return text
    return f"{text[:MOST_SHOWN]}\n… cut after {MOST_SHOWN:,} of {len(text):,} characters"


def _redacted(data: Any, secret: re.Pattern[str] | None, levels: int) -> tuple[Any, int]:
    if not isinstance(data, dict | list):
        return data, 0
    if not levels:
        return HIDDEN, 1
    if isinstance(data, list):
        parts = [_redacted(each, secret, levels - 1) for each in data]
        return [part for part, _ in parts], sum(count for _, count in parts)
    shown, hidden = {}, 0
    for name, value in data.items():
        if secret is not None and secret.search(name):
            shown[name], count = HIDDEN, 1
        else:
            shown[name], count = _redacted(value, secret, levels - 1)
        hidden += count
    return shown, hidden


@lru_cache(maxsize=8)
def _pattern(words: str) -> re.Pattern[str] | None:
    wanted = [re.escape(word.strip()) for word in words.split(",") if word.strip()]
    return re.compile("|".join(wanted), re.IGNORECASE) if wanted else None
