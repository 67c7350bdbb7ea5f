"""Numbers and texts: whether all that is sent lies within what is taken."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from messaging.contracts.gaps import Verdict
from messaging.contracts.plain import Plain
from messaging.contracts.schema_words import number

#: What is wrong, and how sure that is.
Fault = tuple[Verdict, str]
#: A bound, and whether it is itself left out.
Bound = tuple[float | int, bool]


def number_faults(sent: Plain, taken: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield why numbers that are sent may not be taken."""
    is_integer = sent.kind == "integer"
    if sent.values is None:
        low, high = _low(sent.words, is_integer), _high(sent.words, is_integer)
    else:
        low, high = (min(sent.values), False), (max(sent.values), False)
    wanted = _low(taken, is_integer)
    if wanted is not None and not (low is not None and _key(low, 1) >= _key(wanted, 1)):
        yield _sure(sent), f"expected {_shown('>', wanted)}, {_sent('>', low)}"
    wanted = _high(taken, is_integer)
    if wanted is not None and not (high is not None and _key(high, -1) <= _key(wanted, -1)):
        yield _sure(sent), f"expected {_shown('<', wanted)}, {_sent('<', high)}"
    if "multipleOf" in taken:
        yield from _multiple_faults(sent, taken, is_bounded=low is not None or high is not None)


def text_faults(sent: Plain, taken: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield why texts that are sent may not be taken. No pattern is run."""
    words = sent.words
    if sent.values is None:
        least, most = number(words, "minLength") or 0, number(words, "maxLength")
    else:
        lengths = [len(value) for value in sent.values]
        least, most = min(lengths), max(lengths)
    # A pattern or a format may say more about lengths than the words do.
    is_shaped = sent.values is None and bool({"pattern", "format"} & words.keys())
    sure = Verdict.UNKNOWN if is_shaped else _sure(sent)
    wanted_least, wanted_most = number(taken, "minLength") or 0, number(taken, "maxLength")
    if least < wanted_least:
        yield sure, f"expected {wanted_least} characters or more, may have {least}"
    if wanted_most is not None and (most is None or most > wanted_most):
        yield sure, f"expected {wanted_most} characters at most, may have {most or 'any number'}"
    if "pattern" in taken and taken["pattern"] != words.get("pattern"):
        sends = f"what is sent has {words['pattern']!r}" if "pattern" in words else "none is sent"
        yield Verdict.UNKNOWN, f"expected the pattern {taken['pattern']!r}, {sends}"
    if "format" in taken and taken["format"] != words.get("format"):
        is_sure = sent.values is None and "pattern" not in words
        sends = f"the format {words['format']}" if "format" in words else "any text"
        yield (
            _sure(sent) if is_sure else Verdict.UNKNOWN,
            f"expected the format {taken['format']}, {sends} is sent",
        )


def _multiple_faults(
    sent: Plain, taken: Mapping[str, Any], *, is_bounded: bool
) -> Iterator[Fault]:
    wanted, known = number(taken, "multipleOf"), number(sent.words, "multipleOf")
    if known is None and sent.kind == "integer":
        known = 1
    if wanted == known or wanted is None:
        return
    fault = f"expected multiples of {wanted:g}"
    steps = sent.values if sent.values is not None else [known]
    if not all(isinstance(each, int) for each in (wanted, *steps)):
        yield Verdict.UNKNOWN if known or sent.values else _sure(sent), fault
    elif wanted == 0 or any(step % wanted for step in steps if isinstance(step, int)):
        yield Verdict.UNKNOWN if is_bounded and sent.values is None else _sure(sent), fault


def _low(words: Mapping[str, Any], is_integer: bool) -> Bound | None:
    bounds: list[Bound] = []
    for word, is_exclusive in (("minimum", False), ("exclusiveMinimum", True)):
        value = number(words, word)
        if value is not None:
            bounds.append((value, is_exclusive))
    if not bounds:
        return None
    value, is_exclusive = max(bounds, key=lambda bound: _key(bound, 1))
    if is_integer:
        return (math.floor(value) + 1 if is_exclusive else math.ceil(value)), False
    return value, is_exclusive


def _high(words: Mapping[str, Any], is_integer: bool) -> Bound | None:
    bounds: list[Bound] = []
    for word, is_exclusive in (("maximum", False), ("exclusiveMaximum", True)):
        value = number(words, word)
        if value is not None:
            bounds.append((value, is_exclusive))
    if not bounds:
        return None
    value, is_exclusive = min(bounds, key=lambda bound: _key(bound, -1))
    if is_integer:
        return (math.ceil(value) - 1 if is_exclusive else math.floor(value)), False
    return value, is_exclusive


def _key(bound: Bound, side: int) -> tuple[float | int, int]:
    """Return a sort key: a bound that is left out lies a little further inside."""
    value, is_exclusive = bound
    return value, side if is_exclusive else 0


def _shown(sign: str, bound: Bound) -> str:
    value, is_exclusive = bound
    return f"{sign}{'' if is_exclusive else '='} {value}"


def _sent(sign: str, bound: Bound | None) -> str:
    return "there is no bound" if bound is None else f"sent is {_shown(sign, bound)}"


def _sure(sent: Plain) -> Verdict:
    return Verdict.BREAKS if sent.is_exact else Verdict.UNKNOWN
