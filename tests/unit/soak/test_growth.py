"""What counts as growth of memory and files."""

import pytest

from tests.soak.growth import LIMIT_MB_AN_HOUR, file_trends, limit_for, memory_trends, slope
from tests.soak.observing import BROKER, Sample

HOUR = 3600.0
FILES = {"database": 1.0, "database WAL": 4.0, "broker": 1.0, "broker WAL": 4.0}


def samples(mb_an_hour: float, *, minutes: int = 120, restart_at: int = 0) -> list[Sample]:
    """One process that grows, looked at every minute; started anew, at 50 MB, at a minute."""
    found = []
    for minute in range(minutes):
        pid, age = (2, minute - restart_at) if restart_at and minute >= restart_at else (1, minute)
        grown = 50 + mb_an_hour * age / 60
        found.append(Sample(minute * 60.0, {"web": (pid, grown), BROKER: (9, grown)}, FILES))
    return found


def test_points_on_a_line_have_its_slope() -> None:
    assert slope([[(x, 3 * x + 1) for x in range(10)]]) == pytest.approx(3)


def test_a_lower_level_after_a_restart_is_no_shrinking() -> None:
    before = [(x, 100 + 2 * x) for x in range(5)]
    after = [(x, 20 + 2 * x) for x in range(5, 10)]
    assert slope([before, after]) == pytest.approx(2)


def test_a_few_points_have_no_slope() -> None:
    assert slope([[(0, 1), (1, 2)]]) is None


def test_a_short_run_forgives_what_is_noise_and_a_long_one_does_not() -> None:
    assert limit_for(300) == pytest.approx(72)
    assert limit_for(10 * HOUR) == LIMIT_MB_AN_HOUR


def test_a_process_that_grows_is_told_from_one_that_does_not() -> None:
    (_, growing), (_, flat) = memory_trends(samples(30)), memory_trends(samples(0))
    assert growing.mb_an_hour == pytest.approx(30)
    assert not growing.is_flat
    assert flat.is_flat


def test_a_run_of_minutes_is_not_judged() -> None:
    short = samples(600, minutes=8)
    assert not any(each.is_judged for each in [*memory_trends(short), *file_trends(short)])


def test_a_log_may_fill_up_and_no_further() -> None:
    def log_of(begin: float) -> list[Sample]:
        return [
            Sample(at * 60.0, {}, {**FILES, "broker WAL": begin + at / 5}) for at in range(120)
        ]

    small, large = file_trends(log_of(1))[3], file_trends(log_of(40))[3]
    assert [small.mb_an_hour, large.mb_an_hour] == pytest.approx([12, 12])
    assert small.is_flat
    assert not large.is_flat


def test_growth_goes_on_over_a_restart() -> None:
    trends = {each.name: each for each in memory_trends(samples(30, restart_at=90))}
    assert trends["web"].mb_an_hour == pytest.approx(30)


def test_memory_of_a_server_is_seen_and_not_judged() -> None:
    trends = {each.name: each.is_judged for each in memory_trends(samples(30))}
    assert trends == {"web": True, BROKER: False}


def test_a_database_may_grow_and_its_log_may_not() -> None:
    judged = {each.name: each.is_judged for each in file_trends(samples(0))}
    assert judged == {
        "database": False,
        "database WAL": True,
        "broker": True,
        "broker WAL": True,
    }


def test_a_process_that_a_fault_has_ended_in_the_second_half_is_not_judged() -> None:
    (_, early), (_, late) = (memory_trends(samples(30, restart_at=minute)) for minute in (50, 90))
    assert [early.is_judged, late.is_judged] == [True, False]
