"""What a worker says of its load."""

import threading
from types import SimpleNamespace

from messaging.worker.load import Load
from messaging.worker.loop_calls import LoopCalls
from messaging.worker.pool import ThreadPool
from tests.support.waiting import eventually


def test_handlers_on_threads_count_while_they_run_though_the_event_loop_stands_still() -> None:
    pool = ThreadPool(3)
    pool.loop_calls = LoopCalls()
    pool.loop_calls._has_loop = True  # one that never comes round: nothing is settled any more
    pool.start()
    load = Load(pool)
    idle = {"consumed": 0, "busy": 0, "capacity": 3, "oldest_seconds": 0.0}
    assert load.report() == idle

    may_end = threading.Event()
    for _ in range(2):
        pool.submit(lambda: (may_end.wait(20), lambda: None)[1], lambda: None)
    eventually(lambda: load.report()["busy"] == 2)
    eventually(lambda: load.report()["oldest_seconds"] > 0.05)
    may_end.set()
    eventually(lambda: load.report() == idle)
    pool.stop()


def test_handlers_in_processes_count_from_their_beginning_to_their_end() -> None:
    load = Load(SimpleNamespace(limit=2))
    first, second = object(), object()
    load.began(first)
    load.began(second)
    load.ended(first)
    load.ended(first)  # died as well
    report = load.report()
    assert (report["busy"], report["capacity"]) == (1, 2)
    load.ended(second)
    assert load.report()["busy"] == 0
