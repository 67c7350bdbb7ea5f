"""What becomes of messages that are worth nothing once they are late."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messaging import MessagePriority, MessagingConfig, Reject, ServiceCommunicator
from messaging.custody.arrival import ONLY_COPY, Arrival
from messaging.envelope import Envelope
from messaging.models import InboxMessage, OutboxMessage
from messaging.once import limit_seconds
from messaging.receiver import Receiver
from messaging.registration import ANNOUNCE, DEAD_LETTER, HEALTH_ROUND
from messaging.retry import RetryPolicy
from tests.unit.custody.test_inbox import critical

pytestmark = pytest.mark.django_db


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceCommunicator]:
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    communicator = ServiceCommunicator("b", config=config)
    yield communicator
    communicator.close()


def a_message(message_type: str, **more: Any) -> Envelope:
    values = {"custodian": None, "priority": MessagePriority.NORMAL, **more}
    return critical(type=message_type, **values)


@pytest.mark.parametrize("error", [ValueError("x"), Reject("no"), SystemExit(1)], ids=repr)
def test_one_that_fails_has_one_attempt_and_leaves_nothing(
    error: BaseException, service: ServiceCommunicator, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = []

    @service.on_message(ANNOUNCE)
    def handle(_data: Any) -> None:
        attempts.append(1)
        raise error

    message = a_message(ANNOUNCE)
    outcome = Receiver(service).receive(message, ONLY_COPY)
    assert outcome.is_settled
    assert type(error).__name__ in outcome.error
    assert attempts == [1]
    assert not InboxMessage.objects.exists()
    assert not OutboxMessage.objects.exists()  # where a dead letter would be
    assert f"{ANNOUNCE} {message.id} failed" in caplog.text


def test_one_that_nobody_handles_is_dropped(service: ServiceCommunicator) -> None:
    outcome = Receiver(service).receive(a_message(HEALTH_ROUND), ONLY_COPY)
    assert (outcome.is_settled, outcome.error) == (True, f"b has no handler for '{HEALTH_ROUND}'")
    assert not OutboxMessage.objects.exists()


def test_only_runs_that_are_on_record_have_a_limit(service: ServiceCommunicator) -> None:
    service.on_message("long", timeout=1800)(print)
    service.on_message("other")(print)
    again = Arrival(redelivered=True)
    limits = [
        limit_seconds(service, a_message("long", custodian="a"), ONLY_COPY),
        limit_seconds(service, a_message("other", custodian="a"), ONLY_COPY),
        limit_seconds(service, a_message("long"), again),
        limit_seconds(service, a_message("long"), ONLY_COPY),
        limit_seconds(service, a_message("nobody's", custodian="a"), ONLY_COPY),
    ]
    assert limits == [1800, 300, 1800, float("inf"), float("inf")]


@pytest.fixture
def _unlogged() -> Iterator[None]:
    """What is logged travels with a test's report, and xdist cannot hold every text."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_unlogged")
@pytest.mark.parametrize(
    "error", [Reject("caf\udce9 \x00"), UnicodeError("\ud800")], ids=["refused", "failed"]
)
def test_what_fails_with_a_text_that_no_message_can_hold_is_parked_all_the_same(
    error: Exception, service: ServiceCommunicator
) -> None:
    @service.on_message("work", retry=RetryPolicy(immediate=1, delayed=0))
    def handle(_data: Any) -> None:
        raise error

    outcome = Receiver(service).receive(a_message("work"), ONLY_COPY)
    assert outcome.is_settled, outcome.error
    assert OutboxMessage.objects.filter(type=DEAD_LETTER).count() == 1
