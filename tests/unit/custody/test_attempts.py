"""Failed attempts are put on record with what they led to, and only then."""

from typing import Any

import pytest

from messaging import Reject, RetryPolicy, ServiceCommunicator
from messaging.custody import schedule
from messaging.custody.arrival import ONLY_COPY
from messaging.custody.begin import begin
from messaging.models import FailedRound, InboxMessage
from messaging.receiver import Receiver
from tests.unit.custody.test_inbox import critical, die
from tests.unit.custody.test_recorded import service

__all__ = ["service"]  # the fixture

pytestmark = pytest.mark.django_db


def test_what_is_handled_leaves_no_attempt_on_record(service: ServiceCommunicator) -> None:
    @service.on_message("get.user.details")
    def handle(_data: Any) -> None:
        pass

    Receiver(service).receive(critical(), ONLY_COPY)
    assert InboxMessage.objects.get().state == "handled"
    assert not FailedRound.objects.exists()


def test_attempts_are_numbered_on_over_all_rounds(service: ServiceCommunicator) -> None:
    @service.on_message("get.user.details", retry=RetryPolicy(immediate=3, delayed=0))
    def handle(_data: Any) -> None:
        raise KeyError("vat_rate")

    for _ in range(2):
        InboxMessage.objects.update(state="ready")
        Receiver(service).receive(critical(), ONLY_COPY)
    first, second = FailedRound.objects.order_by("pk")
    assert [(row.first, row.last) for row in (first, second)] == [(1, 3), (4, 6)]
    assert first.error == "KeyError: 'vat_rate'"
    assert "in handle" in first.traceback
    assert first.owner == InboxMessage.objects.get().owner


def test_the_attempt_after_which_it_is_given_up_is_on_record(service: ServiceCommunicator) -> None:
    @service.on_message("get.user.details")
    def handle(_data: Any) -> None:
        raise Reject("never")

    Receiver(service).receive(critical(), ONLY_COPY)
    assert InboxMessage.objects.get().state == "parked"
    row = FailedRound.objects.get()
    assert (row.first, row.last, row.service) == (1, 1, "b")


@pytest.mark.parametrize("error", [ValueError("no"), Reject("never")])
def test_an_attempt_that_has_lost_its_row_leaves_nothing_on_record(
    service: ServiceCommunicator, error: Exception
) -> None:
    @service.on_message("get.user.details", retry=RetryPolicy(immediate=1))
    def handle(_data: Any) -> None:
        InboxMessage.objects.update(run_token="of another")
        raise error

    Receiver(service).receive(critical(), ONLY_COPY)
    assert InboxMessage.objects.get().run_token == "of another"
    assert not FailedRound.objects.exists()


def test_a_run_whose_process_died_is_on_record_once_with_its_process_and_version() -> None:
    for version in ("1.4", "1.5"):
        begin(critical(), "b", ONLY_COPY, 9, version)
        die()
        schedule.end_dead_runs()
        schedule.end_dead_runs()
    begin(critical(), "b", ONLY_COPY, 9, "1.6")
    rows = FailedRound.objects.order_by("pk")
    assert [(row.first, row.version, row.seconds) for row in rows] == [
        (1, "1.4", None),
        (2, "1.5", None),
    ]
    assert all(row.owner.endswith("/0") and row.died_run for row in rows)
    assert InboxMessage.objects.get().version == "1.6"


def test_an_attempt_says_how_many_there_may_be(service: ServiceCommunicator) -> None:
    @service.on_message("get.user.details", retry=RetryPolicy(immediate=2, delayed=4))
    def handle(_data: Any) -> None:
        raise KeyError("vat_rate")

    # CRITICAL goes on without an end.
    Receiver(service).receive(critical(), ONLY_COPY)
    assert FailedRound.objects.get().most is None
    assert RetryPolicy(immediate=2, delayed=4).most == 10
