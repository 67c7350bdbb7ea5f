"""Runs that are silent: taken at once where their process is gone, and else with patience."""

import threading
from datetime import timedelta

import pytest
from django.db import connection

from messaging.custody import schedule
from messaging.custody.arrival import ONLY_COPY
from messaging.custody.begin import begin
from messaging.custody.patience import SECONDS, Patience
from messaging.database_threads import write_transaction
from messaging.envelope import utc_now
from messaging.models import FailedRound, InboxMessage
from tests.unit.custody.test_inbox import critical
from tests.unit.transport.conftest import ManualClock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def patience() -> tuple[Patience, ManualClock]:
    clock = ManualClock()
    return Patience(clock), clock


def looks(patience: Patience, clock: ManualClock, seconds: float) -> bool:
    """Look once a second for so long; return what the last look says."""
    for _ in range(int(seconds)):
        clock.advance(1)
        found = patience.is_over()
    return found


def test_it_is_over_once_all_have_had_their_turn(patience: tuple[Patience, ManualClock]) -> None:
    assert not looks(*patience, SECONDS - 1)
    assert looks(*patience, 2)


def test_it_begins_anew_where_nobody_has_looked_for_long(
    patience: tuple[Patience, ManualClock],
) -> None:
    assert looks(*patience, SECONDS + 2)
    patience[1].advance(10)
    assert not looks(*patience, SECONDS - 1)


def test_it_begins_anew_where_a_turn_was_slow_to_come(
    patience: tuple[Patience, ManualClock],
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite has one writer at a time")
    watch, clock = patience
    assert looks(watch, clock, SECONDS + 2)
    is_held, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with write_transaction():
            is_held.set()
            may_go_on.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait(10)
    found: list[bool] = []
    looker = threading.Thread(target=lambda: (found.append(watch.is_over()), connection.close()))
    looker.start()
    clock.advance(3)
    may_go_on.set()
    for thread in (holder, looker):
        thread.join(10)
    assert found == [False]


def test_a_silent_run_is_left_alone_until_then() -> None:
    begin(critical(), "b", ONLY_COPY, 3)
    past = utc_now() - timedelta(seconds=1)
    InboxMessage.objects.update(due_at=past)
    arguments = utc_now(), lambda _: 0, 3
    assert schedule.claim_due(*arguments, is_patience_over=lambda: False) == []
    assert (InboxMessage.objects.get().state, FailedRound.objects.count()) == ("running", 0)
    assert len(schedule.claim_due(*arguments, is_patience_over=lambda: True)) == 1


def test_one_whose_process_is_gone_is_taken_at_once() -> None:
    begin(critical(), "b", ONLY_COPY, 3)
    owner = InboxMessage.objects.get().owner.rpartition("/")[0] + "/0"
    InboxMessage.objects.update(owner=owner, due_at=utc_now() - timedelta(seconds=1))
    due = schedule.claim_due(utc_now(), lambda _: 0, 3, is_patience_over=lambda: False)
    assert len(due) == 1
