"""Runs that begin and end together: each is on record as if it had been alone."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DataError, connection

from messaging.custody import begin as beginning
from messaging.custody import inbox
from messaging.custody.arrival import ONLY_COPY, Arrival
from messaging.custody.begin import begin
from messaging.custody.inbox import Run
from messaging.custody.run_groups import MOST, Expected, RunGroups
from messaging.custody.runs import RUNS
from messaging.database_threads import write_transaction
from messaging.envelope import Envelope
from messaging.events import message_handled
from messaging.models import InboxMessage
from tests.support.waiting import eventually
from tests.unit.custody.test_inbox import critical

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def groups() -> RunGroups:
    return RunGroups("b", 3)


@pytest.fixture
def commits() -> Iterator[list[str]]:
    """What this thread's connection commits, as it does."""
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite's driver tells of commits")
    connection.ensure_connection()
    seen: list[str] = []
    connection.connection.set_trace_callback(
        lambda text: seen.append(text) if text.startswith("COMMIT") else None
    )
    yield seen
    connection.connection.set_trace_callback(None)


def expect(groups: RunGroups, *ids: str) -> list[Expected]:
    found = [groups.expect(critical(id=each), ONLY_COPY) for each in ids]
    assert None not in found
    return [each for each in found if each is not None]


def run_of(expected: Expected) -> Run:
    begun = expected.begin()
    assert isinstance(begun, Run), begun
    return begun


def states() -> dict[str, str]:
    return dict(InboxMessage.objects.values_list("message_id", "state"))


def handle_all(expected: list[Expected]) -> None:
    for each in expected:
        each.end(run_of(each), 0.0)


def test_what_waits_begins_and_ends_in_few_transactions(
    groups: RunGroups, commits: list[str]
) -> None:
    count = 3 * MOST
    handle_all(expect(groups, *(str(number) for number in range(count))))
    assert states() == {str(number): "handled" for number in range(count)}
    assert not InboxMessage.objects.exclude(unended_runs=0).exists()
    assert len(commits) == 4  # one for each group, which notes the ends of the one before


def test_a_message_that_nothing_waits_behind_is_noted_at_once(groups: RunGroups) -> None:
    handle_all(expect(groups, "alone"))
    assert states() == {"alone": "handled"}


def test_an_end_is_noted_while_the_next_handler_works(groups: RunGroups) -> None:
    first, second = expect(groups, "first", "second")
    first.end(run_of(first), 0.0)
    run_of(second)
    eventually(lambda: states() == {"first": "handled", "second": "running"}, 5)


def test_subscribers_of_the_signal_hear_of_it_when_it_is_on_record(groups: RunGroups) -> None:
    heard = []

    def hear(envelope: Envelope, **_: Any) -> None:
        heard.append((envelope.id, states()[envelope.id]))

    message_handled.connect(hear)
    try:
        handle_all(expect(groups, "1", "2"))
        groups.wait(5)  # on a slow machine the late thread tells of the first one
    finally:
        message_handled.disconnect(hear)
    assert sorted(heard) == [("1", "handled"), ("2", "handled")]


def test_what_was_delivered_before_begins_alone(groups: RunGroups) -> None:
    assert groups.expect(critical(), Arrival(redelivered=True)) is None
    assert groups.expect(critical(), Arrival(publishes=2)) is None
    assert groups.expect(critical(custodian=None), ONLY_COPY) is None
    assert groups.expect(critical(), Arrival(publishes=1)) is not None


def test_a_copy_in_the_same_group_is_not_run(groups: RunGroups) -> None:
    first, copy = expect(groups, "m", "m")
    run = run_of(first)
    assert not isinstance(copy.begin(), Run)
    first.end(run, 0.0)
    assert states() == {"m": "handled"}


def test_what_is_given_back_was_never_run(groups: RunGroups) -> None:
    first, second, third = expect(groups, "first", "second", "third")
    run_of(first)
    told = threading.Event()
    groups.give_back(second, told.set)
    assert told.wait(5)
    row = InboxMessage.objects.get(message_id="second")
    assert (row.state, row.unended_runs, row.run_token) == ("ready", 0, "")
    assert isinstance(begin(critical(id="second"), "b", Arrival(redelivered=True), 3), Run)
    assert isinstance(third.begin(), Run)


def test_what_is_given_back_before_it_began_leaves_no_trace(groups: RunGroups) -> None:
    (only,) = expect(groups, "only")
    told = threading.Event()
    groups.give_back(only, told.set)
    assert told.wait(5)
    assert states() == {}


def test_who_gives_back_does_not_wait_for_the_database(groups: RunGroups) -> None:
    """It is the event loop, which has heartbeats and acknowledgements to see to."""
    first, second, third = expect(groups, "first", "second", "third")
    run_of(first)
    told, is_held, may_go = threading.Event(), threading.Event(), threading.Event()

    def handle_atomically() -> None:
        with write_transaction():
            is_held.set()
            assert may_go.wait(5)
        connection.close()

    def begin_another() -> None:
        (another,) = expect(groups, "another")
        another.begin()
        connection.close()

    threads = [threading.Thread(target=handle_atomically)]
    threads[0].start()
    assert is_held.wait(5)
    threads.append(threading.Thread(target=begin_another))
    threads[1].start()
    eventually(groups._beginning.locked, 5)
    groups.give_back(second, told.set)
    groups.abandon()  # third
    assert not told.is_set()
    may_go.set()
    assert told.wait(5)
    groups.wait(5)
    for thread in threads:
        thread.join()
    assert states()["second"] == states()["third"] == "ready"
    assert isinstance(third.begin(), Run)


def test_handlers_whose_ends_are_their_own_leave_nothing_in_memory(groups: RunGroups) -> None:
    for number in range(3 * MOST):
        (each,) = expect(groups, str(number))
        inbox.done(run_of(each))  # as with atomic=True
    assert len(groups._waiting) <= 1


def test_where_one_death_parks_each_begins_alone() -> None:
    assert RunGroups("b", 1).expect(critical(), ONLY_COPY) is None


def test_a_worker_that_leaves_takes_back_what_no_thread_has(groups: RunGroups) -> None:
    first, second = expect(groups, "first", "second")
    run = run_of(first)
    groups.abandon()
    groups.wait(5)
    assert states() == {"first": "running", "second": "ready"}
    first.end(run, 0.0)
    assert states() == {"first": "handled", "second": "ready"}
    assert isinstance(second.begin(), Run)  # a thread that had it in hand begins anew


def test_one_that_cannot_begin_does_not_keep_the_others(
    groups: RunGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = beginning._begin

    def begin_but_one(envelope: Envelope, *rest: Any) -> Any:
        if envelope.id == "bad":
            raise DataError("not in this database")
        return real(envelope, *rest)

    monkeypatch.setattr(beginning, "_begin", begin_but_one)
    good, bad = expect(groups, "good", "bad")
    assert isinstance(good.begin(), Run)
    with pytest.raises(DataError):
        bad.begin()
    assert states() == {"good": "running"}


def test_a_run_that_lost_its_lease_is_told_of_and_the_others_count(
    groups: RunGroups, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = expect(groups, "first", "second")
    runs = [run_of(first), run_of(second)]
    InboxMessage.objects.filter(message_id="first").update(run_token="another")
    with caplog.at_level(logging.WARNING):
        for expected, run in zip((first, second), runs, strict=True):
            expected.end(run, 0.0)
        eventually(lambda: states() == {"first": "running", "second": "handled"}, 5)
    eventually(lambda: "may have happened twice" in caplog.text, 5)


def test_ends_that_cannot_be_noted_are_run_again(
    groups: RunGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back = []
    monkeypatch.setattr(RUNS, "broken_off", lambda *run: given_back.append(run))

    def fail(_runs: list[Run]) -> set[str]:
        raise DataError("no")

    (only,) = expect(groups, "only")
    run = run_of(only)
    monkeypatch.setattr(inbox, "end_all", fail)
    only.end(run, 0.0)
    assert given_back == [(run.token, run.row_id)]
