"""The handler threads: one for short work, as many as allowed for slow work."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.asynchronous import Hub

from messaging.worker import pool as pool_module
from messaging.worker.loop_calls import LoopCalls
from messaging.worker.pool import ThreadPool


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    yield made
    made.close()


@pytest.fixture
def pool(hub: Hub) -> Iterator[ThreadPool]:
    made = ThreadPool(4)
    made.loop_calls = LoopCalls()
    made.loop_calls.attach(hub)
    made.start()
    made.register_with_event_loop(hub)
    yield made
    made.leave_event_loop()
    made.loop_calls.detach()
    made.stop()


def never() -> None:
    pytest.fail("given back")


def turn(hub: Hub, until: Callable[[], bool], seconds: float = 10.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < give_up_at, "the event loop never got there"
        hub.run_once()


def in_one_turn(hub: Hub, work: Callable[[], Any]) -> None:
    """Do something where deliveries happen: in a turn of the loop."""
    hub.call_soon(work)
    hub.run_once()


def test_short_jobs_begin_in_order_on_one_thread_and_end_on_the_loop(
    hub: Hub, pool: ThreadPool
) -> None:
    began: list[tuple[int, str]] = []
    ended: list[tuple[int, threading.Thread]] = []

    def job(number: int) -> Callable[[], Callable[[], None]]:
        def run() -> Callable[[], None]:
            began.append((number, threading.current_thread().name))
            return lambda: ended.append((number, threading.current_thread()))

        return run

    def submit() -> None:
        for number in range(500):
            pool.submit(job(number), never)

    in_one_turn(hub, submit)
    turn(hub, lambda: len(ended) == 500)
    assert [number for number, _ in began] == list(range(500))
    assert len({name for _, name in began}) <= 2  # a stall of the machine may wake a second one
    assert ended == [(number, threading.current_thread()) for number in range(500)]


def test_a_slow_job_keeps_those_behind_it_waiting_for_a_moment_only(
    hub: Hub, pool: ThreadPool
) -> None:
    may_end = threading.Event()
    ended: list[int] = []

    def submit() -> None:
        pool.submit(lambda: may_end.wait(10), never)
        for number in range(20):
            pool.submit(lambda number=number: lambda: ended.append(number), never)

    in_one_turn(hub, submit)
    turn(hub, lambda: len(ended) == 20)
    assert not may_end.is_set()
    may_end.set()


def test_no_more_run_at_the_same_time_than_allowed(hub: Hub, pool: ThreadPool) -> None:
    may_end = threading.Event()
    running: list[int] = []

    def slow(number: int) -> Callable[[], Any]:
        return lambda: (running.append(number), may_end.wait(10), None)[2]

    in_one_turn(hub, lambda: [pool.submit(slow(number), never) for number in range(6)])
    turn(hub, lambda: len(running) == 4)
    assert pool.info["threads"] == 4
    may_end.set()
    turn(hub, lambda: len(running) == 6)


def test_what_waits_too_long_for_a_thread_is_given_back_on_the_loop(
    hub: Hub, pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "HELD_SECONDS", 0.05)
    may_end = threading.Event()
    back: list[threading.Thread] = []

    def submit() -> None:
        for _ in range(4):
            pool.submit(lambda: (may_end.wait(10), None)[1], never)
        pool.submit(lambda: None, lambda: back.append(threading.current_thread()))

    in_one_turn(hub, submit)
    turn(hub, lambda: bool(back))
    assert back == [threading.current_thread()]
    may_end.set()


def test_the_end_of_a_short_job_is_told_though_a_slow_one_follows(
    hub: Hub, pool: ThreadPool
) -> None:
    may_end = threading.Event()
    ended: list[str] = []

    def submit() -> None:
        pool.submit(lambda: lambda: ended.append("short"), never)
        pool.submit(lambda: (may_end.wait(10), lambda: ended.append("slow"))[1], never)

    in_one_turn(hub, submit)
    turn(hub, lambda: ended == ["short"])
    may_end.set()
    turn(hub, lambda: ended == ["short", "slow"])


def test_without_a_loop_jobs_run_when_they_come() -> None:
    pool = ThreadPool(2)
    pool.start()
    done = threading.Event()
    pool.submit(lambda: done.set(), never)
    assert done.wait(10)
    pool.stop()


def test_what_has_not_begun_when_the_loop_ends_is_left_to_the_broker(
    hub: Hub, pool: ThreadPool
) -> None:
    pool.submit(lambda: pytest.fail("begun"), never)  # no turn of the loop follows
    pool.leave_event_loop()
    done = threading.Event()
    pool.submit(lambda: done.set(), never)
    assert done.wait(10)


def test_all_that_waits_is_given_back_in_order_when_the_oldest_has_waited_too_long(
    hub: Hub, pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "HELD_SECONDS", 0.2)
    may_end = threading.Event()
    back: list[int] = []

    def submit() -> None:
        for _ in range(4):
            pool.submit(lambda: (may_end.wait(10), None)[1], never)
        pool.submit(lambda: pytest.fail("begun"), lambda: back.append(0))

    in_one_turn(hub, submit)
    hub.call_later(0.15, lambda: pool.submit(lambda: pytest.fail("begun"), lambda: back.append(1)))
    turn(hub, lambda: bool(back))
    assert back == [0, 1]
    may_end.set()


def test_it_stops_when_what_has_begun_has_ended() -> None:
    pool = ThreadPool(2)
    pool.start()
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        began.set()
        may_end.wait(10)
        ended.set()

    pool.submit(run, never)
    assert began.wait(10)
    stopping = threading.Thread(target=pool.stop)
    stopping.start()
    may_end.set()
    stopping.join(10)
    assert ended.is_set()
    assert not stopping.is_alive()


def test_celerys_way_in_works_too(pool: ThreadPool, hub: Hub) -> None:
    results: list[int] = []
    in_one_turn(hub, lambda: pool.apply_async(lambda x: x + 1, (1,), callback=results.append))
    turn(hub, lambda: results == [2])


def test_a_job_that_raises_costs_no_thread(hub: Hub, pool: ThreadPool) -> None:
    ended: list[int] = []

    def fail() -> None:
        raise SystemExit

    def submit() -> None:
        for _ in range(8):  # twice as many as there are threads
            pool.submit(fail, never)
        pool.submit(lambda: lambda: ended.append(1), never)

    in_one_turn(hub, submit)
    turn(hub, lambda: bool(ended))


def test_one_that_cannot_be_given_back_keeps_no_other_here(
    hub: Hub, pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "HELD_SECONDS", 0.05)
    may_end, back = threading.Event(), []

    def fail() -> None:
        raise OSError

    def submit() -> None:
        for _ in range(4):
            pool.submit(lambda: (may_end.wait(10), None)[1], never)
        pool.submit(lambda: pytest.fail("begun"), fail)
        pool.submit(lambda: pytest.fail("begun"), lambda: back.append(1))

    in_one_turn(hub, submit)
    turn(hub, lambda: bool(back))
    may_end.set()
