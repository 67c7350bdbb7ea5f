"""History outlives every process: what a page shows of an instant is the same after a restart."""

import pytest

from messaging.envelope import utc_now
from tests.browser.operator import Operator
from tests.support.http_stack import HttpStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only
#: What is history on a page; the figures beside it are of the present.
HISTORY = {
    "/ops/": ("region-flow", "path[d]"),
    "/ops/queues/": ("depth-table", "tbody tr"),
}


@pytest.mark.own_stack
def test_yesterdays_plots_are_the_same_after_everything_was_restarted(
    operator: Operator, stack: HttpStack
) -> None:
    installation = stack.installation
    worker = installation.start_worker("user-service")
    installation.send([{"target": "user-service", "type": "work", "data": 1}] * 50)
    database = installation.database()

    def is_in_samples() -> bool:
        return bool(database.execute("SELECT count(*) FROM gateway_app_flowsample").fetchone()[0])

    eventually(is_in_samples, 20, "a heartbeat has told of it")
    # A day ago, as if it had been yesterday; sums are made of it as they would have been.
    database.execute(
        "INSERT INTO gateway_app_queuelook (at, is_added) VALUES (datetime('now', '-24 hours'), 0)"
    )
    database.execute(
        "INSERT INTO gateway_app_queuedepth (look_id, service, waiting, by_priority_json,"
        " oldest_by_priority_json)"
        " VALUES (last_insert_rowid(), 'user-service', 12, '{\"NORMAL\": 12}', '')"
    )
    database.execute(
        "INSERT INTO gateway_app_flowoverall"
        " (resolution, at, priority, count, failures, waiting_json, handling_json,"
        " total_json)"
        " VALUES ('minute', strftime('%Y-%m-%d %H:%M:00', 'now', '-24 hours'), 'NORMAL', 600, 60,"
        " '[[-20, 600]]', '[[-10, 600]]', '[[-9, 540]]')"
    )
    at = utc_now().isoformat()
    before = shown(operator, at)
    for process in (worker, *stack.processes):
        process.stop()
    operator.complaints.clear()
    stack.start()
    installation.start_worker("user-service")
    assert shown(operator, at) == before
    assert "12" in before["/ops/queues/"]


def shown(operator: Operator, at: str) -> dict[str, str]:
    """Return what the pages show of an instant, without what is of the present."""
    found = {}
    for path, (region, parts) in HISTORY.items():
        operator.page.goto(f"{path}?at={at.replace('+', '%2B')}&range=7d")
        operator.be_ready()
        lines = operator.get(region).locator(parts).all()
        texts = [each.get_attribute("d") or each.text_content() or "" for each in lines]
        found[path] = "\n".join(texts)
    return found
