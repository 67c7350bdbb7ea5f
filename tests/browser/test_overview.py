"""The Overview: it says what is wrong, in the figures of the commands, and by itself."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from gateway_app.ops.first_run import SHOWN_AFTER
from messaging.envelope import utc_now
from tests.browser.operator import Operator
from tests.support.http_stack import HttpStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only
LEDGER = ("handled", "waiting", "retrying", "parked", "expired", "unaccounted")


@pytest.mark.own_stack
def test_without_a_service_it_says_how_to_start_one(operator: Operator) -> None:
    expect(operator.get("first-run")).to_be_visible()
    expect(operator.get("step-2")).to_have_attribute("data-done", "false")
    expect(operator.get("verdict")).to_have_attribute("data-level", re.compile("ok|degraded"))
    installation = operator.stack.installation
    installation.start_worker("user-service")
    expect(operator.get("step-2")).to_have_attribute("data-done", "true")
    expect(operator.get("service-row-user-service")).to_be_visible()
    expect(operator.get("step-3")).to_have_attribute("data-done", "false")
    asked = installation.manage("bus_request", "user-service", "echo", '{"userId": 123}')
    assert asked.returncode == 0, asked.stderr
    expect(operator.get("step-3")).to_have_attribute("data-done", "true", timeout=15_000)
    assert operator.serious_findings() == []
    a_while_ago = (utc_now() - SHOWN_AFTER).isoformat(" ").removesuffix("+00:00")
    installation.database().execute("UPDATE gateway_app_healthrecord SET at = ?", (a_while_ago,))
    expect(operator.get("first-run")).to_have_count(0)


@pytest.mark.own_stack
def test_a_killed_instance_is_named_without_a_reload(operator: Operator) -> None:
    installation = operator.stack.installation
    installation.start_worker("user-service")
    doomed = installation.start_worker("order-service")
    expect(operator.get("service-row-order-service").get_by_test_id("service-up")).to_have_text(
        "1/1"
    )
    expect(operator.get("verdict")).to_have_attribute("data-level", "ok")
    doomed.kill()
    expect(operator.get("verdict")).to_have_attribute("data-level", "failing", timeout=35_000)
    expect(operator.get("verdict")).to_contain_text("order-service")
    its_own = operator.get("event-row").filter(has_text="order-service")
    expect(its_own.filter(has_text="SUSPECT → DOWN").first).to_be_visible()
    expect(operator.get("live-pill")).to_have_attribute("data-mode", "live")
    told = {each["name"]: each for each in _json(operator.stack, "bus_services")}
    for name, service in told.items():
        up = sum(each["state"] == "UP" for each in service["instances"])
        expect(operator.get(f"service-row-{name}").get_by_test_id("service-up")).to_have_text(
            f"{up}/{len(service['instances'])}"
        )


@pytest.mark.own_stack
def test_the_ledger_adds_up_to_what_the_command_says(operator: Operator) -> None:
    installation = operator.stack.installation
    installation.start_worker("user-service")
    message = {"target": "user-service", "data": 1, "priority": "CRITICAL"}
    installation.send([{**message, "type": "work"}] * 5)
    installation.send([{**message, "type": "reject"}] * 2)
    installation.send([{**message, "type": "fail"}])
    eventually(lambda: _account(operator.stack)["parked"] == 2, 20, "two are parked")
    expect(operator.get("ledger-parked")).to_have_text("2")
    expect(operator.get("ledger-retrying")).to_have_text("1")
    # The five, and the two dead letters themselves, which the gateway has taken.
    expect(operator.get("ledger-handled")).to_have_text("7")
    shown = {name: int(operator.get(f"ledger-{name}").inner_text()) for name in LEDGER}
    accepted = int(operator.get("ledger-accepted").inner_text())
    told = _account(operator.stack)
    assert accepted == told["accepted"] == sum(shown.values()) == 10
    assert shown["waiting"] + shown["retrying"] == told["in_flight"]
    for name in ("handled", "parked", "expired", "unaccounted"):
        assert shown[name] == told[name]
    expect(operator.get("verdict")).to_have_attribute("data-level", "degraded")
    expect(operator.get("verdict")).to_contain_text("user-service has parked 2 messages")


def test_priorities_are_in_order_each_with_sixty_points(operator: Operator) -> None:
    names = operator.page.locator("[data-testid^='priority-row-']")
    expect(names).to_have_count(4)
    shown = [row.get_attribute("data-testid") for row in names.all()]
    assert shown == [f"priority-row-{name}" for name in ("CRITICAL", "HIGH", "NORMAL", "LOW")]
    for line in operator.get("sparkline").all():
        assert line.get_attribute("data-points") == "60"


def _json(stack: HttpStack, command: str) -> list[dict[str, Any]]:
    done = stack.installation.manage(command, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _account(stack: HttpStack) -> dict[str, int]:
    done = stack.installation.manage("bus_account", "--json", "--since", "24h")
    told: dict[str, int] = json.loads(done.stdout)
    return told
