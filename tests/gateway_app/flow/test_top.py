"""``bus_top``: what an operator sees of the last half minute."""

import json
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from gateway_app import registry
from gateway_app.flow import samples
from messaging import MessageBus, ServiceCommunicator
from messaging.envelope import utc_now
from tests.gateway_app.flow.test_flow import a_row
from tests.gateway_app.registry.test_registry import a_registration

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def billing(own_broker: MessageBus) -> None:
    now = utc_now()
    registry.register(a_registration("billing", "b1"), said_at=now, now=now)
    ServiceCommunicator("shop", config=own_broker.config).send_to_service("billing", "order", {})


def call(*arguments: str) -> str:
    out = StringIO()
    call_command("bus_top", *arguments, stdout=out)
    return out.getvalue()


def keep(*said: dict[str, Any], seconds_ago: float = 10.0) -> None:
    at = utc_now() - timedelta(seconds=seconds_ago)
    rows = [{**row, "at": int(at.timestamp())} for row in said]
    samples.keep(samples.sample_of("billing", rows, uuid.uuid4().hex, at))


def test_services_with_what_waits_and_what_fails_first() -> None:
    keep(a_row(type="busy", count=300, failures=0), a_row(type="broken", count=3, failures=3))
    lines = call().splitlines()
    assert "10.1 deliveries/s, 0.1 failed   1 waiting" in lines[0]
    (billing,) = [line for line in lines if line.startswith("billing ")]
    assert billing.split()[:2] == ["billing", "UP"]
    assert "1 (1 NORMAL)  0 s" in billing
    edges = [line.split() for line in lines if line.startswith("shop ")]
    assert [edge[2] for edge in edges] == ["broken", "busy"]
    assert "100 %" in " ".join(edges[0])


def test_what_was_long_ago_and_what_others_have_not_told_yet_is_left_out() -> None:
    keep(a_row(type="old"), seconds_ago=60.0)
    keep(a_row(type="just-now"), seconds_ago=0.0)
    assert "Nothing was handled" in call()


def test_texts_from_outside_do_nothing_to_the_terminal() -> None:
    keep(a_row(last_error="\x1b[2J\x07 gone\nnext line"))
    shown = call()
    assert "\x1b" not in shown
    assert "gone next line" in shown


def test_everything_is_there_as_json() -> None:
    keep(a_row())
    said = json.loads(call("--json"))
    (service,) = said["services"]
    assert (service["name"], service["state"], service["waiting"]) == ("billing", "UP", 1)
    assert service["waiting_by_priority"] == {"NORMAL": 1}
    (edge,) = said["edges"]
    assert (edge["source"], edge["target"], edge["type"]) == ("shop", "billing", "order.paid")
    assert edge["handled_per_second"] == pytest.approx(0.1)
    assert edge["took_p95_seconds"] == pytest.approx(1.0, rel=0.25)
    assert edge["last_error"] == "ValueError: no"
