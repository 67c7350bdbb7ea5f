import logging
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from django.db import OperationalError

from gateway_app import leases
from gateway_app.beat import ROLE, BusScheduler, schedule_for
from messaging import BrokerUnavailable, MessageBus, MessagingConfig
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db(transaction=True)  # a beat closes its connection
CONFIG = MessagingConfig(broker_url="sqlite:////tmp/unused.sqlite3")
SWEEP, ROUND, *_ = schedule_for(CONFIG)


class StillClock:
    """Monotonic time that moves when told to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        raise AssertionError("the wall clock may jump")

    def sleep(self, seconds: float) -> None:
        raise AssertionError("beat sleeps for us")


class Sent(list[str]):
    """A communicator that keeps what it is told to send; it may refuse some."""

    name = "api-gateway"
    bus = MessageBus(CONFIG)
    refuses = 0

    def tell(self, _target: str, message_type: str, _data: Any, **_options: Any) -> None:
        if self.refuses:
            self.refuses -= 1
            raise BrokerUnavailable("away")
        self.append(message_type)

    def close(self) -> None:
        pass


NewBeat = Callable[..., tuple[BusScheduler, Sent]]


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def new_beat(clock: StillClock) -> NewBeat:
    def make(**entries: Any) -> tuple[BusScheduler, Sent]:
        app = Celery("beats", set_as_current=False)
        app.communicator = sent = Sent()
        app.conf.beat_schedule = schedule_for(CONFIG) | entries
        scheduler = BusScheduler(app)
        scheduler.clock = clock
        return scheduler, sent

    return make


def test_the_first_sweep_is_at_once_and_a_round_after_its_interval(
    new_beat: NewBeat, clock: StillClock
) -> None:
    beat, sent = new_beat()
    for _ in range(61):
        beat.tick()
        clock.at += 0.5
    assert (sent.count(SWEEP), sent.count(ROUND)) == (7, 1)
    assert sent[0] == SWEEP


def test_intervals_do_not_drift_and_are_not_made_up_for(
    new_beat: NewBeat, clock: StillClock
) -> None:
    beat, sent = new_beat()
    beat.tick()
    clock.at += 5.4
    assert beat.tick() == pytest.approx(4.6)
    clock.at += 600
    for _ in range(3):
        beat.tick()
    assert sent.count(SWEEP) == 3


def test_of_two_beats_one_sends(new_beat: NewBeat, clock: StillClock) -> None:
    (first, sent), (second, sent_by_second) = new_beat(), new_beat()
    for _ in range(20):
        first.tick()
        assert second.tick() <= 1
        clock.at += 1
    assert (sent.count(SWEEP), sent_by_second) == (4, [])


def test_another_beat_acts_at_once_after_a_clean_stop(new_beat: NewBeat) -> None:
    (first, _), (second, sent_by_second) = new_beat(), new_beat()
    first.tick()
    second.tick()
    first.close()
    second.tick()
    assert sent_by_second == [SWEEP]


def test_a_beat_that_was_stopped_for_longer_than_its_lease_sends_nothing_more(
    new_beat: NewBeat, clock: StillClock, caplog: pytest.LogCaptureFixture
) -> None:
    beat, sent = new_beat()
    beat.tick()
    clock.at += 60
    leases.release(ROLE, beat.holder)
    leases.acquire(ROLE, "another", 15, utc_now())
    with caplog.at_level(logging.WARNING):
        beat.tick()
    assert sent == [SWEEP]
    assert "another beat has taken over (another)" in caplog.text


def test_a_beat_that_is_stopped_between_two_messages_asks_again_first(
    new_beat: NewBeat, clock: StillClock
) -> None:
    beat, sent = new_beat()
    beat.tick()
    clock.at += 30

    def stopped_after_the_first(*arguments: Any, **options: Any) -> None:
        Sent.tell(sent, *arguments, **options)
        clock.at += 16

    sent.tell = stopped_after_the_first  # type: ignore[method-assign] # of this one alone
    assert beat.tick() == 0
    assert len(sent) == 2  # of two that were due


def test_without_its_database_a_beat_says_so_once_and_sends_nothing(
    new_beat: NewBeat,
    clock: StillClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    beat, sent = new_beat()
    beat.tick()

    def away(*_: Any) -> bool:
        raise OperationalError("no route to host")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(leases, "acquire", away)
        patch.setattr("gateway_app.beat.connection", SimpleNamespace(close=lambda: None))
        for _ in range(3):
            clock.at += 5
            beat.tick()
    assert caplog.text.count("while the database does not answer: no route to host") == 1
    assert sent == [SWEEP]
    beat.tick()
    assert sent.count(SWEEP) == 2


def test_what_the_broker_does_not_take_is_tried_again(new_beat: NewBeat) -> None:
    beat, sent = new_beat()
    sent.refuses = 2
    assert [beat.tick(), beat.tick()] == [1, 1]
    beat.tick()
    assert sent == [SWEEP]


def test_a_time_of_the_day_keeps_celerys_rule_and_is_not_made_up_for_by_who_stood_by(
    new_beat: NewBeat,
) -> None:
    nightly = {"task": "nightly", "schedule": crontab(minute="0", hour="3")}
    beat, sent = new_beat(nightly=nightly)
    entry = beat.schedule["nightly"]
    entry.last_run_at = entry.default_now() - timedelta(days=3)
    if entry.default_now().hour == 3 and entry.default_now().minute == 0:
        pytest.skip("it is due just now")
    beat.tick()
    assert sent == [SWEEP]
    beat.schedule["nightly"].last_run_at -= timedelta(days=3)
    beat.tick()
    assert sent == [SWEEP, "nightly"]


def test_a_signal_in_the_middle_of_a_query_leaves_the_rest_to_celerys_second_call(
    new_beat: NewBeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat, _ = new_beat()
    acquire = leases.acquire

    def interrupted(*arguments: Any) -> bool:
        acquire(*arguments)
        beat.close()
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(leases, "acquire", interrupted)
        with pytest.raises(SystemExit):
            beat.tick()
    assert leases.holder_of(ROLE) == beat.holder
    beat.close()
    assert leases.holder_of(ROLE) == ""
