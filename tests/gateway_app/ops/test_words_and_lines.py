"""Numbers in words, and small pictures."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway_app.ops import drawing, figures

NOW = datetime(2026, 3, 4, 14, 32, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.0004, "0.4 ms"),
        (0.044, "44 ms"),
        (2.84, "2.8 s"),
        (59, "59 s"),
        (120, "2 min"),
        (460, "7 min 40 s"),
        (1800, "30 min"),
        (3600, "1 h"),
        (13_980, "3 h 53 min"),
        (200_000, "2 d"),
    ],
)
def test_durations_are_short_and_have_a_unit(seconds: float | None, text: str) -> None:
    assert figures.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0, "0 /s"), (0.02, "1.2 /min"), (1.44, "1.4 /s"), (1234.5, "1,234 /s")],
)
def test_rates_are_by_second_or_by_minute(per_second: float, text: str) -> None:
    assert " ".join(figures.rate(per_second)) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0 %"),
        (0, 10, "0 %"),
        (1, 100_000, "< 0.1 %"),
        (1, 71, "1.4 %"),
        (12, 100, "12 %"),
        (99_999, 100_000, "> 99.9 %"),
        (7, 7, "100 %"),
    ],
)
def test_a_share_never_says_none_of_some_or_all_of_not_quite_all(
    part: int, whole: int, text: str
) -> None:
    assert figures.share(part, whole) == text


def test_instants_have_their_day_where_it_is_another_one() -> None:
    assert figures.instant(NOW, NOW) == "14:32:00"
    assert figures.instant(NOW - timedelta(days=1), NOW) == "Tue 14:32"
    assert figures.instant(NOW - timedelta(days=30), NOW) == "2 Feb 14:32"


def test_a_line_reaches_the_top_at_its_largest_value_and_has_a_gap_where_nothing_is_known() -> (
    None
):
    spark = drawing.spark([0.0, 5.0, None, 10.0])
    assert spark.points == 4
    assert spark.line == "M0.0 23.0L36.7 12.0 M110.0 1.0"
    assert spark.dot == (110.0, 1.0)
    assert drawing.spark([1.0, None]).dot is None
    assert drawing.spark([]).line == ""


def test_a_ring_has_an_arc_for_each_instance() -> None:
    arcs = drawing.ring(["UP", "DOWN"])
    assert [css for css, _ in arcs] == ["up", "down"]
    assert len({path for _, path in arcs}) == 2
    assert [css for css, _ in drawing.ring([])] == ["unknown"]


def test_bars_are_never_invisible_where_there_is_something() -> None:
    few, none, many = drawing.bars([1, 0, 10_000])
    assert few.height >= 3
    assert none.height == 1
    assert many.height == drawing.SPARK_HEIGHT - 2
