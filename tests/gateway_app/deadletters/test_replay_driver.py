"""Who steps replay runs, and that several at once do no harm."""

import threading
from typing import Any

import pytest
from django.db import connections

from gateway_app import handlers, leases, replay_driver, replay_runs
from gateway_app.models import AuditRecord, DeadLetter, ReplayRun, RunState
from gateway_app.replay_steps import advance
from messaging import MessageBus, codec
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now
from messaging.models import OutboxMessage, OutboxState
from messaging.registration import REPLAY_STEP
from tests.gateway_app.deadletters.letters import end, park
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = 30


def start(rate: int = 1000, key: str = "k") -> ReplayRun:
    for number in range(COUNT):
        park(f"{key}-{number}")
    return replay_runs.start({"service": "billing"}, actor="ada", rate=rate, key=key)


def steps_sent(bus: MessageBus) -> int:
    """How many messages wait that have a worker step the runs; they are taken away."""
    count = 0
    with bus.connection() as connection:
        queue = bus.topology.service_queue("api-gateway")(connection.channel())
        while (message := queue.get(no_ack=True)) is not None:
            count += codec.decode(message.body).type == REPLAY_STEP
    return count


def test_two_that_step_the_same_run_replay_each_letter_once() -> None:
    run = start()
    failures: list[BaseException] = []

    def go_through() -> None:
        try:
            while ReplayRun.objects.get(pk=run.pk).to_go:
                advance(run, utc_now())
        except BaseException as exc:
            failures.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=go_through) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert OutboxMessage.objects.filter(generation=1).count() == COUNT
    assert AuditRecord.objects.filter(action="replay").count() == COUNT
    run.refresh_from_db()
    assert (run.sent, run.to_go) == (COUNT, 0)


def test_a_start_wakes_a_worker_which_wakes_the_next_one_while_a_run_is_running(
    own_broker: MessageBus,
) -> None:
    run = start()
    assert steps_sent(own_broker) == 1
    handlers.go_on_with_replays({})
    assert steps_sent(own_broker) == 1
    for row in OutboxMessage.objects.filter(generation=1):
        end(row, "handled")
    handlers.go_on_with_replays({})
    run.refresh_from_db()
    assert (run.state, run.handled) == (RunState.ENDED, COUNT)
    assert steps_sent(own_broker) == 0
    assert leases.holder_of(replay_driver.ROLE) == ""


def test_while_another_worker_is_at_it_nothing_is_done() -> None:
    start()
    assert leases.acquire(replay_driver.ROLE, "another", 5.0, utc_now())
    assert not replay_driver.drive()
    assert DeadLetter.objects.filter(state="parked").count() == COUNT


def test_without_a_run_it_costs_two_queries(django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(2):
        assert not replay_driver.drive()


def test_a_stop_takes_effect_within_a_second_while_a_worker_drives() -> None:
    run = start(rate=5)
    driver = threading.Thread(target=_drive)
    driver.start()
    eventually(DeadLetter.objects.filter(state="replayed").exists)
    assert replay_runs.stop(run, actor="grace")
    replayed = DeadLetter.objects.filter(state="replayed").count()
    began = SYSTEM_CLOCK.monotonic()
    driver.join(30)
    assert SYSTEM_CLOCK.monotonic() - began < 1.0
    assert DeadLetter.objects.filter(state="replayed").count() == replayed


def _drive() -> None:
    try:
        replay_driver.drive()
    finally:
        connections.close_all()


def test_what_a_stopped_run_sent_is_noted_with_the_next_message_of_beat() -> None:
    run = start()
    advance(run, utc_now())
    assert replay_runs.stop(run, actor="grace")
    OutboxMessage.objects.filter(generation=1).update(state=OutboxState.HANDLED, due_at=None)
    assert not replay_driver.drive()
    run.refresh_from_db()
    assert run.sent == 0
    assert run.handled > 0


def test_old_runs_are_removed_and_those_that_run_are_not() -> None:
    old = start()
    replay_runs.stop(old, actor="grace")
    new = start(key="k2")
    long_ago = utc_now().replace(year=2020)
    ReplayRun.objects.filter(pk=old.pk).update(ended_at=long_ago)
    replay_driver.sweep(utc_now())
    assert list(ReplayRun.objects.all()) == [new]
    assert DeadLetter.objects.count() == 2 * COUNT
