from datetime import timedelta

import pytest

from messaging.testing.clock import seconds_of, text_of


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (90, 90),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("1h 30m", 5400),
        ("2d", 172_800),
        (timedelta(minutes=1), 60),
    ],
)
def test_durations_are_said_as_people_say_them(said: float | str, seconds: float) -> None:
    assert seconds_of(said) == seconds


@pytest.mark.parametrize("said", ["", "5", "m5", "5m!", "5 minutes", -1, timedelta(-1)])
def test_what_is_no_duration_is_refused(said: float | str) -> None:
    with pytest.raises(ValueError, match="expected"):
        seconds_of(said)


def test_durations_are_told_in_short() -> None:
    told = [text_of(seconds) for seconds in (0, 0.2, 59.96, 60, 3661, 90_000)]
    assert told == ["0s", "0.2s", "60s", "1m", "1h 1m 1s", "1d 1h"]
