import pytest

from messaging import histogram
from messaging.histogram import LARGEST, SMALLEST, Histogram, bucket_of, quantile, upper_bound


def test_every_duration_is_within_a_quarter_of_what_is_read_of_it() -> None:
    seconds = 0.0002
    while seconds < 100_000:
        bound = upper_bound(bucket_of(seconds))
        assert seconds < bound <= seconds * 1.25 + 1e-12, seconds
        seconds *= 1.017
    steps = [upper_bound(number) / upper_bound(number - 1) for number in range(SMALLEST, LARGEST)]
    assert min(steps) > 1.1
    assert max(steps) <= 1.25


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, 1e-4])
def test_what_is_too_short_counts_as_the_shortest(seconds: float) -> None:
    assert bucket_of(seconds) == SMALLEST


def test_what_is_too_long_counts_as_the_longest() -> None:
    assert bucket_of(1e9) == LARGEST
    assert bucket_of(float("inf")) == LARGEST


def test_quantiles_of_a_sum_are_those_of_all() -> None:
    fast: Histogram = {bucket_of(0.010): 95}
    slow: Histogram = {bucket_of(1.0): 5}
    total: Histogram = {}
    histogram.add(total, fast)
    histogram.add(total, slow)
    assert quantile(total, 0.5) == pytest.approx(0.010, rel=0.25)
    assert quantile(total, 0.95) == pytest.approx(0.010, rel=0.25)
    assert quantile(total, 0.96) == pytest.approx(1.0, rel=0.25)
    assert quantile({}, 0.5) is None


@pytest.mark.parametrize("pairs", [[(LARGEST + 1, 1)], [(0, 0)], [(0, -1)]])
def test_what_is_no_histogram_is_refused(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="bucket"):
        histogram.from_pairs(pairs)
