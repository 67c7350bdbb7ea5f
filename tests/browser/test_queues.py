"""The Queues page: charts and table say the same, and what never empties is called so."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.operator import Operator
from tests.support.http_stack import HttpStack

pytestmark = pytest.mark.embedded_only

#: Looks of the last fifty minutes, and what flowed in them.
HISTORY = """
from datetime import timedelta
from gateway_app.models import FlowOverall, FlowSummary, QueueDepth, QueueLook
from messaging.envelope import utc_now
now = utc_now()
for back in range(50, 0, -1):
    at = now - timedelta(minutes=back)
    look = QueueLook.objects.create(at=at)
    for service, text, waiting in (
        ("user-service", '{"CRITICAL": 1, "HIGH": %d}' % back, back + 1),
        ("order-service", '{"NORMAL": 5, "LOW": %d}' % (back % 7), 5 + back % 7),
    ):
        QueueDepth.objects.create(
            look=look, service=service, waiting=waiting, by_priority_json=text
        )
    sums = dict(resolution="minute", at=at.replace(second=0, microsecond=0), priority="HIGH",
                count=60 + back, waiting_json="[]", handling_json="[]",
                total_json="[]")
    FlowOverall.objects.update_or_create(
        resolution="minute", at=sums["at"], priority="HIGH", defaults=sums
    )
    FlowSummary.objects.create(
        **sums, source="x", target="user-service", type="work", kind="command"
    )
"""
LOOK = """
from gateway_app.bus import communicator
from gateway_app.flow import queues
from messaging.envelope import utc_now
queues.look(communicator.bus, utc_now())
"""
A_MINUTE_AGO = """
from datetime import timedelta
from gateway_app.models import QueueLook
QueueLook.objects.update(at=utc_now() - timedelta(seconds=60))
"""
#: Of the chart, each band alone; of the table, the same columns.
DRAWN = """() => {
    const [at, ...layers] = document.querySelector("[data-testid=depth-chart]").plot.data;
    const alone = layers.map((layer, place) => layer.map((value, row) =>
        value === null ? null : value - (place ? layers[place - 1][row] : 0)));
    return at.map((instant, row) => [instant, ...alone.map((column) => column[row])]);
}"""
TOLD = """() => [...document.querySelectorAll("[data-testid=depth-table] tbody tr")].map((row) => [
    Number(row.dataset.at),
    ...[1, 2, 3, 4].map((place) => row.cells[place].textContent)
        .map((text) => text === "" ? null : Number(text)),
])"""


@pytest.mark.own_stack
def test_the_chart_shows_the_numbers_of_its_table_and_goes_on_by_itself(
    operator: Operator,
) -> None:
    stack = operator.stack
    _run(stack, HISTORY)
    operator.look_at("/ops/queues/?service=user-service")
    doomed = stack.installation.start_worker("user-service")
    expect(operator.get("queue-row-user-service")).to_be_visible(timeout=20_000)
    doomed.kill()
    stack.installation.send([{"target": "user-service", "type": "work", "priority": "HIGH"}] * 77)
    operator.look_at("/ops/queues/")
    expect(operator.get("depth-chart").locator("canvas")).to_be_visible()
    table = operator.get("depth-table")
    assert table.get_attribute("data-bands") == "CRITICAL HIGH NORMAL LOW"
    shown = operator.page.evaluate(TOLD)
    assert len(shown) == 60
    assert sum(row[1] is not None for row in shown) >= 49
    assert operator.page.evaluate(DRAWN) == shown
    _run(stack, LOOK)
    # Health checks wait there as well.
    operator.page.wait_for_function(f"() => ({DRAWN})().at(-1)[2] >= 77", timeout=30_000)
    assert operator.page.evaluate(DRAWN) == operator.page.evaluate(TOLD)
    operator.get("depth-details").locator("summary").click()
    expect(table.locator("tbody tr").last).to_be_visible()
    operator.look_at("/ops/queues/?service=order-service")
    assert operator.page.evaluate(DRAWN) == operator.page.evaluate(TOLD)
    assert max(row[2] or 0 for row in operator.page.evaluate(TOLD)) == 0


@pytest.mark.own_stack
def test_a_queue_that_does_not_shrink_is_never_empty(operator: Operator) -> None:
    stack = operator.stack
    stack.installation.start_worker("user-service", concurrency=1)
    operator.look_at("/ops/queues/")
    row = operator.get("queue-row-user-service")
    outlook = row.get_by_test_id("queue-empty-in")
    expect(outlook).to_have_attribute("data-outlook", "empty", timeout=20_000)
    _run(stack, LOOK + A_MINUTE_AGO)
    slow = {"target": "user-service", "type": "work", "data": {"seconds": 60}, "priority": "LOW"}
    stack.installation.send([slow] * 40)
    # On a busy machine the broker is asked less often.
    expect(row.get_by_test_id("queue-waiting")).not_to_have_text("0", timeout=60_000)
    expect(outlook).to_have_attribute("data-outlook", "never")
    expect(outlook).to_contain_text("grows by")
    expect(operator.get("queue-sentence")).to_contain_text("user-service does not catch up")
    for each in operator.page.locator("[data-testid^=queue-row-]").all():
        _assert_never_only_where_it_is(each)


def test_charts_follow_theme_and_width_and_are_sound(operator: Operator) -> None:
    operator.stack.installation.start_worker("user-service")
    _run(operator.stack, HISTORY)
    for path in ("?range=1h", "?range=24h", "?range=7d", "?range=90d"):
        operator.look_at(f"/ops/queues/{path}")
        expect(operator.get("depth-chart").locator("canvas")).to_be_visible()
        assert operator.page.evaluate(DRAWN) == operator.page.evaluate(TOLD)
    color = "() => document.querySelector('[data-testid=depth-chart]').plot.series[1].stroke()"
    before = operator.page.evaluate(color)
    operator.page.get_by_label("Switch between dark and light").click()
    operator.page.wait_for_function(f"(before) => ({color})() !== before", arg=before)
    operator.get("depth-details").locator("summary").click()
    assert operator.serious_findings() == []
    operator.page.set_viewport_size({"width": 390, "height": 844})
    width = "document.querySelector('[data-testid=depth-chart] canvas').clientWidth"
    operator.page.wait_for_function(f"() => {width} < 390")
    assert not operator.is_wider_than_the_screen()


def _assert_never_only_where_it_is(row: Any) -> None:
    waiting, came, went = (
        row.get_by_test_id(f"queue-{name}").inner_text() for name in ("waiting", "in", "out")
    )
    outlook = row.get_by_test_id("queue-empty-in").get_attribute("data-outlook")
    assert (outlook == "never") == (int(waiting) > 0 and float(went) <= float(came))


def _run(stack: HttpStack, script: str) -> None:
    done = stack.installation.manage("shell", "-c", script)
    assert done.returncode == 0, done.stderr
