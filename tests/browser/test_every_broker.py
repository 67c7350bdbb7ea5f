"""What the pages show is the same on each broker, and a queue is paused from its page."""

import re

from playwright.sync_api import expect

from gateway_app.ops.pages import PAGES
from tests.browser.operator import Operator
from tests.support.waiting import eventually


def test_a_message_that_was_parked_is_seen_on_every_page(operator: Operator) -> None:
    installation = operator.stack.installation
    if not installation.is_running("user-service"):
        installation.start_worker("user-service")
    rejected = {"target": "user-service", "type": "reject", "priority": "CRITICAL"}
    (message_id,) = installation.send([rejected])
    expect(operator.get("ledger-parked")).to_have_text("1")
    expect(operator.get("ledger-unaccounted")).to_have_text("0")
    expect(operator.get("verdict")).to_contain_text("user-service")
    expect(operator.get("service-row-user-service").get_by_test_id("service-up")).to_have_text(
        "1/1"
    )
    for page in PAGES:
        if "<" not in page.path:
            operator.look_at(f"/ops/{page.path}")
            expect(operator.page.locator(".empty.errors")).to_have_count(0)
    operator.look_at("/ops/topology/")
    edge = operator.get("map-edge-tester-user-service-reject")
    expect(edge).to_have_attribute("data-state", re.compile("ok|failing"), timeout=20_000)
    operator.look_at("/ops/queues/")
    waiting = operator.get("queue-row-user-service").get_by_test_id("queue-waiting")
    expect(waiting).to_have_text("0")
    operator.look_at("/ops/dead-letters/")
    expect(operator.get("dl-count").first).to_have_text("1")
    operator.look_at(f"/ops/messages/{message_id}/")
    expect(operator.get("msg-state")).to_have_text("parked")
    expect(operator.get("msg-attempt-row")).not_to_have_count(0)


def test_a_queue_is_paused_with_a_reason_and_resumed(operator: Operator) -> None:
    installation = operator.stack.installation
    if not installation.is_running("user-service"):
        installation.start_worker("user-service")
    operator.look_at("/ops/queues/")
    row = operator.get("queue-row-user-service")
    row.get_by_test_id("queue-pause").click()
    form = operator.get("pause-form")
    expect(form.locator("[name=service]")).to_have_value("user-service")
    form.get_by_test_id("pause-confirm").click()
    expect(form).to_be_visible()  # the browser asks for the reason
    form.locator("[name=reason]").fill("schema migration")
    assert operator.serious_findings() == []
    form.get_by_test_id("pause-confirm").click()
    expect(operator.get("toast")).to_contain_text("user-service is paused")
    expect(row.get_by_test_id("queue-paused")).to_contain_text("paused by anna")
    database = installation.database()
    eventually(
        lambda: bool(
            database.execute(
                "SELECT 1 FROM gateway_app_serviceinstance WHERE load_json LIKE '%paused%'"
            ).fetchone()
        ),
        20,
        "its worker says so",
    )
    installation.send([{"target": "user-service", "type": "work", "priority": "HIGH"}] * 3)
    # A health check that was sent before may wait there too.
    expect(row.get_by_test_id("queue-waiting")).to_have_text(re.compile("[3-5]"))
    expect(row.get_by_test_id("queue-consumers")).to_have_text("0")
    expect(operator.get("queue-sentence")).to_contain_text("is paused by anna: schema migration")
    assert installation.journal("user-service").lines(event="handled") == []
    operator.look_at("/ops/")
    expect(operator.get("verdict")).to_contain_text("user-service is paused")
    expect(operator.get("event-row").filter(has_text="schema migration")).to_have_count(1)
    operator.look_at("/ops/queues/")
    row.get_by_test_id("queue-resume").click()
    expect(row.get_by_test_id("queue-waiting")).to_have_text("0")
    expect(row.get_by_test_id("queue-paused")).to_have_count(0)
