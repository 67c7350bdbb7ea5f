"""What one message costs, in units that do not depend on the machine: calls and statements.

The bounds are a tenth above what was counted. A change that needs more has to say so here, and to
show in `make bench` what it buys.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from kombu import Connection
from kombu.asynchronous import Hub

from messaging import MessagingConfig, RetryPolicy, ServiceCommunicator, codec
from messaging.custody import run_groups
from messaging.custody.arrival import ONLY_COPY
from messaging.custody.run_groups import MOST, RunGroups
from messaging.envelope import Envelope, MessageKind, MessagePriority
from messaging.receiver import Receiver
from messaging.testing import Harness
from messaging.transport.broker import Broker
from messaging.transport.files import files_of

DATA = {"seq": 1, "sent_ns": 12_345_678, "id": "0" * 36, "data": "x" * 90}
TIMES = 100
#: Calls of functions for each message.
SEND_CALLS = 255
READ_CALLS = 63
HANDLE_CALLS = 39
ACCEPT_CALLS = 197
#: …composing it included.
GROUPED_CALLS = 325
#: Of the harness and all below it, through ten attempts of one message.
LADDER_CALLS = 48_000


def calls_of(work: Callable[[], object], times: int = TIMES) -> float:
    """Return how many functions, of Python and of C, are called each time."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    for _ in range(3):
        work()  # caches, declarations, imports
    sys.setprofile(note)
    try:
        for _ in range(times):
            work()
    finally:
        sys.setprofile(None)
    return count / times


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    url = f"sqlite:///{tmp_path / 'broker.sqlite3'}"
    made = ServiceCommunicator("sender", config=MessagingConfig(broker_url=url))
    yield made
    made.close()


def an_envelope(sender: ServiceCommunicator) -> Envelope:
    return sender._composer.compose(
        MessageKind.COMMAND, "work", DATA, target="worker", priority=MessagePriority.NORMAL
    )


def test_sending_on_the_embedded_broker(sender: ServiceCommunicator) -> None:
    def send() -> None:
        sender.send_to_service("worker", "work", DATA)

    assert calls_of(send) < SEND_CALLS


def test_statements_of_a_send_on_the_embedded_broker(sender: ServiceCommunicator) -> None:
    sender.send_to_service("worker", "work", DATA)
    statements: list[str] = []
    store = Broker.at(files_of(sender.bus.config.broker_url)).store
    with store.connection() as db:
        db.set_trace_callback(statements.append)
        sender.send_to_service("worker", "work", DATA)
        db.set_trace_callback(None)
    words = [statement.split()[0] for statement in statements]
    assert words == ["BEGIN", "UPDATE", "INSERT", "INSERT", "COMMIT"]


@pytest.mark.django_db(transaction=True)
def test_accepting_a_critical_message(sender: ServiceCommunicator) -> None:
    def accept() -> None:
        sender.send_to_service("worker", "work", DATA, priority=MessagePriority.CRITICAL)

    accept()
    handoff = sender.bus.dispatch.handoff
    assert handoff.flush(5)
    handoff.give = lambda *_: None  # type: ignore[method-assign]  # the thread's own work
    connection.ensure_connection()
    statements: list[str] = []
    connection.connection.set_trace_callback(statements.append)
    accept()
    connection.connection.set_trace_callback(None)
    assert [statement.split()[0] for statement in statements] == ["INSERT"]
    assert calls_of(accept) < ACCEPT_CALLS


@pytest.mark.django_db(transaction=True)
def test_handling_critical_messages_that_wait_for_a_thread(
    sender: ServiceCommunicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_groups, "LATE_SECONDS", 60)  # no other thread takes part
    sender.on_message("work")(lambda _data: None)
    receiver, groups = Receiver(sender), RunGroups("sender", 3)
    numbers = itertools.count()

    def handle_a_group() -> None:
        waiting = []
        for _ in range(MOST):
            envelope = replace(
                an_envelope(sender), id=f"m{next(numbers)}", custodian="a", target="sender"
            )
            waiting.append((envelope, groups.expect(envelope, ONLY_COPY)))
        for envelope, expected in waiting:
            receiver.receive(envelope, ONLY_COPY, expected)

    handle_a_group()
    statements: list[str] = []
    connection.connection.set_trace_callback(statements.append)
    handle_a_group()
    connection.connection.set_trace_callback(None)
    words = Counter(statement.split()[0] for statement in statements)
    assert words["COMMIT"] == 2  # of the beginnings, and of the ends
    assert words["INSERT"] == MOST
    assert words["UPDATE"] == 2 * MOST  # its end, and whether its sender's row is here
    assert calls_of(handle_a_group) / MOST < GROUPED_CALLS


def test_ten_attempts_over_hours_in_the_harness(bus: Harness) -> None:
    billing = ServiceCommunicator("billing")

    @billing.on_message("invoice.create", retry=RetryPolicy(immediate=1, delayed=9))
    def create(_data: Any, message: Envelope) -> None:
        if message.attempt < 10:
            raise ValueError("the tax office is closed")

    def climb() -> None:
        bus.send("billing", "invoice.create", {"id": 7})
        bus.advance("24h")

    bus.service(billing)
    assert calls_of(climb, times=5) < LADDER_CALLS
    assert bus.handled("invoice.create").times(8)
    assert bus.failed("invoice.create").times(8 * 9)


def test_reading_a_message(sender: ServiceCommunicator) -> None:
    body = codec.encode(an_envelope(sender), None)
    assert calls_of(lambda: codec.decode(body)) < READ_CALLS


def test_handling_a_message_once_it_is_read(sender: ServiceCommunicator) -> None:
    sender.on_message("work")(lambda _data: None)
    receiver, envelope = Receiver(sender), an_envelope(sender)
    assert calls_of(lambda: receiver.receive(envelope, ONLY_COPY)) < HANDLE_CALLS


def test_messages_are_claimed_and_settled_many_at_a_time(
    sender: ServiceCommunicator,
) -> None:
    """As a worker with fast handlers does it: 64 held, 16 a turn, acks after each turn."""
    for _ in range(640):
        sender.send_to_service("worker", "work", DATA)
    hub, held, done = Hub(), [], 0
    options = {"turn_messages": 16}
    statements: list[str] = []
    with Connection(sender.bus.config.broker_url, transport_options=options) as broker:
        channel: Any = broker.channel()
        channel.basic_qos(prefetch_count=64)
        broker.register_with_event_loop(hub)
        store = Broker.at(files_of(sender.bus.config.broker_url)).store
        with store.connection() as db:
            db.set_trace_callback(statements.append)
        channel.basic_consume("worker", callback=held.append)
        for _ in range(1000):
            hub.run_once()
            while held:
                held.pop().ack()
                done += 1
            if done == 640:
                break
        with store.connection() as db:
            db.set_trace_callback(None)
    hub.close()
    assert done == 640
    assert statements.count("COMMIT") < 640 / 12
