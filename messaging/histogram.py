"""Durations counted in buckets, so that quantiles can be had of any sum of them.

Four buckets for each doubling: what is read from them is up to a quarter too long. Counts are kept
by number of the bucket, those that are not there are 0, and two histograms add up by their counts.
"""

from collections.abc import Iterable, Mapping
from math import frexp
from typing import Final

Histogram = dict[int, int]

_PER_DOUBLING: Final = 4
#: 0.12 ms and 36 hours: what is shorter or longer counts as that.
SMALLEST: Final = -12 * _PER_DOUBLING
LARGEST: Final = 18 * _PER_DOUBLING - 1
#: Of one bucket; what comes from outside has bounds.
MOST: Final = 10**15
_TOO_LONG: Final = 2.0**17


def bucket_of(seconds: float) -> int:
    """Return the number of the bucket that a duration is counted in."""
    if seconds <= 0.0:
        return SMALLEST
    if seconds >= _TOO_LONG:
        return LARGEST
    mantissa, exponent = frexp(seconds)  # 0.5 <= mantissa < 1
    number = exponent * _PER_DOUBLING + int(mantissa * 2 * _PER_DOUBLING) - _PER_DOUBLING
    return max(number, SMALLEST)


def upper_bound(number: int) -> float:
    """Return the duration that all in a bucket are shorter than, in seconds."""
    exponent, part = divmod(number, _PER_DOUBLING)
    return float((_PER_DOUBLING + part + 1) / (2 * _PER_DOUBLING) * 2.0**exponent)


def add(total: Histogram, counts: Mapping[int, int]) -> None:
    """Add a histogram to another one."""
    for number, count in counts.items():
        total[number] = total.get(number, 0) + count


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the duration that this share of all was no longer than; None where there is none.

    Args:
        counts: the histogram.
        share: from 0 to 1; 0.95 for the p95.
    """
    wanted = share * sum(counts.values())
    seen = 0
    for number in sorted(counts):
        seen += counts[number]
        if counts[number] and seen >= wanted:
            return upper_bound(number)
    return None


def from_pairs(pairs: Iterable[tuple[int, int]]) -> Histogram:
    """Return the histogram that was written as pairs of bucket and count.

    Raises:
        ValueError: a bucket is out of range, or a count is not positive.
    """
    counts: Histogram = {}
    for number, count in pairs:
        is_whole = type(number) is int and type(count) is int
        if not (is_whole and SMALLEST <= number <= LARGEST and 0 < count <= MOST):
            raise ValueError(f"no bucket and its count: {number!r}, {count!r}")
        counts[number] = counts.get(number, 0) + count
    return counts
