"""Failed attempts are put on record with what they led to, and only then."""

from datetime import timedelta
from typing import Any

import pytest

from messaging import Reject, RetryPolicy, ServiceCommunicator
from messaging.custody import schedule
from messaging.custody.arrival import ONLY_COPY
from messaging.custody.begin import begin
from messaging.custody.inbox import Run
from messaging.envelope import utc_now
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
        schedule.end_dead_runs(9)
        schedule.end_dead_runs(9)
    begin(critical(), "b", ONLY_COPY, 9, "1.6")
    rows = FailedRound.objects.order_by("pk")
    assert [(row.first, row.most, row.version, row.seconds) for row in rows] == [
        (1, 9, "1.4", None),
        (2, 9, "1.5", None),
    ]
    assert all(row.owner.endswith("/0") and row.died_run for row in rows)
    assert {row.error for row in rows} == {"its process died"}
    assert InboxMessage.objects.get().version == "1.6"


@pytest.mark.parametrize("custodian", ["a", None])
@pytest.mark.parametrize("found_by", ["a delivery", "a relay"])
def test_a_run_on_another_host_whose_lease_ran_out_is_on_record(
    found_by: str, custodian: str | None
) -> None:
    """Only the lease tells of it, and the run after it left no trace of the one before."""
    envelope = critical(custodian=custodian)
    begin(envelope, "b", ONLY_COPY, 3, "1.4")
    past = utc_now() - timedelta(seconds=1)
    InboxMessage.objects.update(owner="elsewhere/boot/1/2", due_at=past)
    if found_by == "a relay":
        due = schedule.claim_due(utc_now(), lambda _: 0, 3)
        assert len(due) == (1 if custodian else 0)  # what only the broker has, it delivers itself
    assert isinstance(begin(envelope, "b", ONLY_COPY, 3), Run)
    row = FailedRound.objects.get()
    assert (row.first, row.most, row.owner, row.version) == (1, 3, "elsewhere/boot/1/2", "1.4")
    assert row.error == "its process was not heard of for 30 s"
    assert InboxMessage.objects.get().unended_runs == 2


def test_an_attempt_says_how_many_there_may_be(service: ServiceCommunicator) -> None:
    @service.on_message("get.user.details", retry=RetryPolicy(immediate=2, delayed=4))
    def handle(_data: Any) -> None:
        raise KeyError("vat_rate")

    # CRITICAL goes on without an end.
    Receiver(service).receive(critical(), ONLY_COPY)
    assert FailedRound.objects.get().most is None
    assert RetryPolicy(immediate=2, delayed=4).most == 10
