"""A bad message that cannot be put on record goes back to the broker, after a rest."""

from types import SimpleNamespace
from typing import Any

import pytest

from messaging.deadletter import DeadLetterReason
from messaging.errors import PublishError
from messaging.worker.acks import Acks
from messaging.worker.consumer import REDELIVER_AFTER_SECONDS, GuardConsumer
from messaging.worker.loop_calls import LoopCalls


class Message:
    """A delivery whose connection fails as often as it is told to."""

    headers = None
    delivery_tag = 1

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.is_given_back = False

    def reject(self, *, requeue: bool) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError
        self.is_given_back = requeue


class Timer:
    """What waits, and for how long."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Any, tuple[Any, ...]]] = []

    def call_after(self, seconds: float, function: Any, arguments: tuple[Any, ...]) -> None:
        self.waiting.append((seconds, function, arguments))

    def pass_on(self) -> None:
        _, function, arguments = self.waiting.pop()
        function(*arguments)


@pytest.fixture
def consumer() -> Any:
    """A guard whose parking fails, and which has nothing else."""

    def fail(*_: object) -> None:
        raise PublishError("the outbox could not take it")

    made = GuardConsumer.__new__(GuardConsumer)
    made.app = SimpleNamespace(
        communicator=SimpleNamespace(parking=SimpleNamespace(park_delivery=fail))
    )
    made.loop_calls = LoopCalls()
    made.acks = Acks((ConnectionError,), has_multiple=False)
    made.connection_errors = (ConnectionError,)
    made.timer = Timer()
    return made


@pytest.mark.parametrize("failures", [0, 1])
def test_it_is_given_back_after_a_rest(consumer: Any, failures: int) -> None:
    message = Message(failures)
    consumer._park_now(message, DeadLetterReason.INVALID, "no JSON")
    for _ in range(failures + 1):
        assert not message.is_given_back
        ((seconds, *_),) = consumer.timer.waiting
        assert seconds == REDELIVER_AFTER_SECONDS
        consumer.timer.pass_on()
    assert message.is_given_back
    assert consumer.timer.waiting == []
