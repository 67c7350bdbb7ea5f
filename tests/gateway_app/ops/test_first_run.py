"""The first steps: shown while they are the first, ticked as they are done."""

from datetime import timedelta
from typing import Any

import pytest

from gateway_app.models import HealthRecord, Service, ServiceInstance
from gateway_app.ops import first_run
from gateway_app.ops.first_run import SHOWN_AFTER
from gateway_app.ops.question import Question
from messaging.envelope import utc_now
from tests.gateway_app.flow.test_flow import a_row, keep

pytestmark = pytest.mark.django_db(transaction=True)

A_MOMENT = timedelta(seconds=5)
LONG = SHOWN_AFTER + A_MOMENT


def steps() -> dict[str, Any]:
    return first_run.steps(Question(now=utc_now(), rights=frozenset()))


def came(ago: timedelta, name: str = "billing") -> Service:
    at = utc_now() - ago
    service = Service.objects.create(name=name)
    ServiceInstance.objects.create(
        instance_id=name, service=service, registered_at=at, last_seen_at=utc_now()
    )
    HealthRecord.objects.create(service=service, state="UP", cause="registered", at=at)
    return service


def test_the_gateway_alone_is_no_service() -> None:
    came(LONG, "api-gateway")
    shown = steps()
    assert (shown["is_first_run"], shown["came"], shown["has_answered"]) == (True, "", False)


def test_the_first_service_is_seen_to_come() -> None:
    came(LONG, "api-gateway")
    came(A_MOMENT)
    shown = steps()
    assert (shown["is_first_run"], shown["came"], shown["has_answered"]) == (
        True,
        "billing",
        False,
    )


def test_its_answer_is_seen_too() -> None:
    came(A_MOMENT)
    lately = utc_now() - timedelta(seconds=15)
    keep("billing", [a_row(lately, kind="request")], lately)
    assert steps()["has_answered"]


def test_what_is_no_request_is_no_answer() -> None:
    came(A_MOMENT)
    lately = utc_now() - timedelta(seconds=15)
    keep("billing", [a_row(lately)], lately)
    assert not steps()["has_answered"]


def test_they_are_gone_when_a_service_is_known_for_a_while() -> None:
    came(LONG)
    assert steps() == {"is_first_run": False}


def test_an_old_installation_that_is_started_anew_is_not_new() -> None:
    service = came(A_MOMENT)
    HealthRecord.objects.create(
        service=service, state="UP", cause="registered", at=utc_now() - timedelta(days=3)
    )
    assert steps() == {"is_first_run": False}


def test_a_service_without_instances_and_records_is_not_new() -> None:
    Service.objects.create(name="billing")
    assert steps() == {"is_first_run": False}
