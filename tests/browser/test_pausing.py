"""A queue is paused and resumed from its page, on each broker: what the pages show is the same."""

import re

from playwright.sync_api import expect

from tests.browser.operator import Operator
from tests.support.waiting import eventually


def test_a_queue_is_paused_with_a_reason_and_resumed(operator: Operator) -> None:
    installation = operator.stack.installation
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
