"""What a worker says of its load."""

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from messaging import MessagingConfig, ServiceCommunicator
from messaging.worker.delivery import Delivery
from messaging.worker.load import Load
from messaging.worker.loop_calls import LoopCalls
from messaging.worker.pool import ThreadPool
from tests.support.waiting import eventually
from tests.unit.custody.test_inbox import critical

if TYPE_CHECKING:
    from kombu.message import Message


def test_handlers_on_threads_count_while_they_run_though_the_event_loop_stands_still() -> None:
    pool = ThreadPool(3)
    pool.loop_calls = LoopCalls()
    pool.loop_calls._has_loop = True  # one that never comes round: nothing is settled any more
    pool.start()
    load = Load(pool)
    idle = {"consumed": 0, "busy": 0, "capacity": 3, "oldest_seconds": 0.0, "overdue": 0}
    assert load.report() == idle

    may_end = threading.Event()
    for _ in range(2):
        pool.submit(lambda: (may_end.wait(20), lambda: None)[1], lambda: None)
    eventually(lambda: load.report()["busy"] == 2)
    eventually(lambda: load.report()["oldest_seconds"] > 0.05)
    may_end.set()
    eventually(lambda: load.report() == idle)
    pool.stop()


def a_delivery(custodian: str | None = None) -> Delivery:
    """One that may run for 0.01 s, if it is under custody."""
    config = MessagingConfig(broker_url="sqlite:////nowhere/broker.sqlite3")
    communicator = ServiceCommunicator("b", config=config)
    communicator.on_message("get.user.details", timeout=0.01)(print)
    consumer = SimpleNamespace(
        app=SimpleNamespace(communicator=communicator),
        task_events=SimpleNamespace(is_wanted=lambda _: False),
    )
    message = SimpleNamespace(headers={}, delivery_info={})
    return Delivery(cast("Message", message), critical(custodian=custodian), consumer)


def test_those_past_their_own_limit_are_overdue_and_what_has_no_limit_never_is() -> None:
    pool = ThreadPool(3)
    pool.start()
    load = Load(pool)
    may_end = threading.Event()
    for custodian in ("a", None):
        pool.submit(lambda: may_end.wait(20), lambda: None, a_delivery(custodian))
    eventually(lambda: load.report()["oldest_seconds"] > 0.1)
    assert eventually(lambda: load.report()["busy"] == 2)
    assert load.report()["overdue"] == 1
    may_end.set()
    eventually(lambda: load.report()["overdue"] == 0)
    pool.stop()

    processes = Load(SimpleNamespace(limit=2))
    processes.began(a_delivery("a"))
    processes.began(a_delivery())
    eventually(lambda: processes.report()["overdue"] == 1)


def test_handlers_in_processes_count_from_their_beginning_to_their_end() -> None:
    load = Load(SimpleNamespace(limit=2))
    first, second = a_delivery(), a_delivery()
    load.began(first)
    load.began(second)
    load.ended(first)
    load.ended(first)  # died as well
    report = load.report()
    assert (report["busy"], report["capacity"]) == (1, 2)
    load.ended(second)
    assert load.report()["busy"] == 0
