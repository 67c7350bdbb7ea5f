"""What is dear is read seldom, and what failed leaves what was known."""

import logging
import threading
from collections.abc import Iterator

import pytest
from django.db import connection

from gateway_app.ops import paced
from gateway_app.ops.paced import Paced, PacedBy
from messaging.clock import SYSTEM_CLOCK
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class Source:
    """Counts how often it is read, and works or waits as long as it is told."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.waits = 0.0
        self.fails = False

    def read(self) -> int:
        self.count += 1
        ends_at = SYSTEM_CLOCK.thread_cpu() + self.seconds
        while SYSTEM_CLOCK.thread_cpu() < ends_at:
            pass
        if self.waits:
            SYSTEM_CLOCK.sleep(self.waits)
        if self.fails:
            raise ValueError("no")
        return self.count


@pytest.fixture
def source() -> Iterator[Source]:
    logging.disable(logging.ERROR)
    yield Source()
    logging.disable(logging.NOTSET)


def value(known: Paced[int]) -> int:
    reading = known.get()
    return reading.value if reading else 0


def test_it_is_read_when_somebody_asks_and_not_again_too_soon(source: Source) -> None:
    known = Paced(source.read, least_seconds=60)
    assert source.count == 0
    assert [value(known) for _ in range(5)] == [1] * 5
    known.forget()
    eventually(lambda: value(known) == 2, 5)


def test_a_single_slow_reading_does_not_slow_the_next_ones(source: Source) -> None:
    known = Paced(source.read, least_seconds=0.0)
    source.seconds = 0.05
    value(known)
    source.seconds = 0.0
    eventually(lambda: value(known) >= 3, 1, "two more within a second, not one in 2.5 s")


def test_what_is_always_slow_is_read_seldom(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paced, "SHARE", 0.0001)
    known = Paced(source.read, least_seconds=0.0)
    source.seconds = 0.02
    eventually(lambda: value(known) == 2, 5)
    ends_at = SYSTEM_CLOCK.monotonic() + 0.3
    while SYSTEM_CLOCK.monotonic() < ends_at:
        assert value(known) == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a server works while it is waited for")
def test_who_only_waits_for_a_turn_is_not_slow(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paced, "SHARE", 0.002)
    known = Paced(source.read, least_seconds=0.0)
    source.waits = 0.05
    eventually(lambda: value(known) >= 4, 5, "by its share it would be one in 25 s")


def test_a_reading_that_fails_leaves_what_was_known(source: Source) -> None:
    known = Paced(source.read, least_seconds=0.0)
    first = known.get()
    assert first is not None
    source.fails = True
    eventually(lambda: known.get() is not None and source.count >= 3, 5)
    later = known.get()
    assert later is not None
    assert later.value >= 1
    assert later.at >= first.at


def test_who_asks_first_does_not_wait_for_what_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paced, "FIRST_SECONDS", 0.1)
    gate = threading.Event()
    known = Paced(gate.wait, least_seconds=0.0)
    assert known.get() is None
    gate.set()
    eventually(lambda: known.get() is not None, 5)


def test_each_key_has_a_value_of_its_own_and_old_ones_are_let_go() -> None:
    known: PacedBy[int, int] = PacedBy(lambda key: key * 10, least_seconds=60)
    assert [known.get(key) for key in (1, 2, 1)] == [10, 20, 10]
    for key in range(2 * known.MOST):
        known.get(key)
    assert len(known._known) == known.MOST
