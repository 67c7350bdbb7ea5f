"""A service's own checks: what they say, when they are heard, and what one that hangs does."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from messaging import ConfigurationError
from messaging.health_checks import MAX_CHECKS, HealthChecks
from tests.support.waiting import eventually
from tests.unit.transport.conftest import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def checks(clock: ManualClock) -> Iterator[HealthChecks]:
    made = HealthChecks(clock)
    yield made
    made.stop()


def fail(error: BaseException) -> Callable[[], None]:
    def check() -> None:
        raise error

    return check


async def passes_later() -> None:
    pass


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda: None, {"ok": True, "text": ""}),
        (passes_later, {"ok": True, "text": ""}),
        (lambda: "no\x00 disk\nspace", {"ok": False, "text": "no� disk space"}),
        (lambda: "", {"ok": False, "text": "failed"}),
        (lambda: True, {"ok": False, "text": "expected None or a text from it, got True"}),
        (fail(OSError("refused")), {"ok": False, "text": "OSError: refused"}),
        (fail(SystemExit(1)), {"ok": False, "text": "SystemExit: 1"}),
        (lambda: "x" * 300, {"ok": False, "text": "x" * 200}),
    ],
)
def test_what_a_check_says(checks: HealthChecks, check: Any, said: dict[str, Any]) -> None:
    checks.add("it", check, every=30)
    assert checks.results() == {}
    checks.start()
    assert eventually(checks.results) == {"it": said}


def test_one_that_hangs_has_failed_and_keeps_no_other_one(
    checks: HealthChecks, clock: ManualClock
) -> None:
    may_end, began = threading.Event(), threading.Event()
    checks.add("hangs", lambda: (began.set(), may_end.wait(20), None)[2], every=30)
    checks.add("works", lambda: None, every=30)
    checks.start()
    assert began.wait(10)
    eventually(checks.results)
    assert "hangs" not in checks.results()  # it has its time yet

    clock.advance(31)
    assert checks.results()["hangs"] == {"ok": False, "text": "no result for 30 s"}
    assert checks.results()["works"]["ok"]
    clock.advance(80)
    assert checks.results()["hangs"]["text"] == "no result for 60 s"
    changes: list[None] = []
    checks.on_change = lambda: changes.append(None)
    may_end.set()
    eventually(lambda: checks.results()["hangs"]["ok"])
    assert changes


def test_each_runs_again_after_its_period_and_only_a_change_is_news(
    checks: HealthChecks,
) -> None:
    answers = iter([None, None, "broken", "broken", None])
    news: list[dict[str, Any]] = []
    done = threading.Event()

    def check() -> str | None:
        try:
            return next(answers)
        except StopIteration:
            done.set()
            return None

    checks.on_change = lambda: news.append(checks.results()["it"])
    checks.add("it", check, every=1)
    checks._checks["it"].every_seconds = 0.02
    checks.start()
    assert done.wait(10)
    assert [each["ok"] for each in news] == [False, True]


@pytest.mark.parametrize(
    ("name", "function", "every", "text"),
    [
        ("", lambda: None, 30, "a name of 1 to 100"),
        ("taken", lambda: None, 30, "not taken"),
        ("a\nb", lambda: None, 30, "printable"),
        ("x", lambda data: None, 30, "without arguments"),
        ("x", lambda: None, 0.5, "every 1 s or more, got 0.5"),
    ],
)
def test_what_is_no_check_is_refused(
    checks: HealthChecks, name: str, function: Any, every: float, text: str
) -> None:
    checks.add("taken", lambda: None, 30)
    with pytest.raises(ConfigurationError, match=text):
        checks.add(name, function, every)


def test_there_are_no_more_checks_than_the_registry_takes(checks: HealthChecks) -> None:
    for number in range(MAX_CHECKS):
        checks.add(str(number), lambda: None, 30)
    with pytest.raises(ConfigurationError, match="100 already"):
        checks.add("one more", lambda: None, 30)
