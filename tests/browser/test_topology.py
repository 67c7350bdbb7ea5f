"""The map: as many edges as rows, in place after a reload, by keyboard alone, and as it was."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, expect

from messaging.envelope import utc_now
from tests.browser.operator import Operator

pytestmark = pytest.mark.embedded_only
WORK = {"target": "user-service", "type": "work", "data": 1}
#: Given up at once.
FAIL = {"target": "user-service", "type": "reject", "data": 1, "priority": "HIGH"}


def edge(operator: Operator, name: str) -> Locator:
    return operator.get(f"map-edge-tester-user-service-{name}")


def shown(operator: Operator, query: str = "") -> None:
    """Open the map of a system in which something failed."""
    installation = operator.stack.installation
    if not installation.is_running("user-service"):
        installation.start_worker("user-service")
        installation.send([WORK] * 6 + [FAIL] * 3)
    operator.look_at(f"/ops/topology/{query}")
    expect(edge(operator, "work")).to_be_visible()
    expect(edge(operator, "reject")).to_have_attribute("data-state", "failing")


@pytest.mark.own_stack
def test_edges_come_by_themselves_as_many_as_rows_failing_first(operator: Operator) -> None:
    installation = operator.stack.installation
    installation.start_worker("user-service")
    operator.page.emulate_media(reduced_motion="no-preference")
    operator.look_at("/ops/topology/")
    expect(operator.get("map-node-user-service")).to_contain_text("1/1")
    expect(operator.get("edge-table-row")).to_have_count(0)
    installation.send([WORK] * 6)
    expect(edge(operator, "work")).to_have_attribute("data-state", "ok")
    expect(operator.get("edge-table-row")).to_have_count(1)
    installation.send([FAIL] * 3)
    expect(edge(operator, "reject")).to_have_attribute("data-state", "failing")
    expect(edge(operator, "reject")).to_contain_text("100 % failing")
    expect(operator.get("edge-table-row")).to_have_count(2)
    expect(operator.page.locator("[data-testid^=map-edge-]")).to_have_count(2)
    expect(operator.get("edge-table-row").first).to_contain_text("reject")
    expect(operator.get("map-node-user-service")).to_contain_text("3 parked")
    # What sends but is in no registry is there too.
    expect(operator.get("map-node-tester")).to_contain_text("not registered")
    assert operator.page.locator("#map .moving circle").count() >= 2


def test_a_reload_and_new_figures_move_nothing(operator: Operator) -> None:
    shown(operator)
    before = places(operator)
    assert len(before) >= 5
    operator.page.reload()
    expect(edge(operator, "work")).to_be_visible()
    assert_same(before, places(operator))
    handle = edge(operator, "work").element_handle()
    text = edge(operator, "work").text_content() or ""
    operator.stack.installation.send([WORK] * 30)
    expect(edge(operator, "work")).not_to_have_text(text)
    assert_same(before, places(operator))
    # It is the same element, not another one in its place.
    assert handle.evaluate("element => element.isConnected")


def test_enter_on_an_edge_opens_its_panel_and_back_closes_it(operator: Operator) -> None:
    shown(operator, "?range=24h")
    page = operator.page
    edge(operator, "reject").focus()
    operator.press("Enter")
    panel = operator.get("edge-panel")
    expect(panel).to_be_visible()
    query = parse_qs(urlsplit(page.url).query)
    assert query == {"edge": ["tester|user-service|reject"], "range": ["24h"]}
    expect(panel).to_contain_text("Failing")
    expect(panel).to_contain_text("tester → user-service")
    expect(panel.get_by_test_id("edge-parked")).to_have_text("3")
    expect(panel.get_by_test_id("edge-error")).to_contain_text("this will never do")
    expect(edge(operator, "reject")).to_have_attribute("aria-current", "true")
    assert operator.serious_findings() == []
    link = panel.get_by_test_id("edge-dead-letters").get_attribute("href") or ""
    assert link.endswith("/?service=user-service&type=reject")
    page.go_back()
    expect(panel).to_have_count(0)
    page.go_forward()
    expect(panel).to_be_visible()
    operator.press("Escape")
    expect(panel).to_have_count(0)
    assert parse_qs(urlsplit(page.url).query) == {"range": ["24h"]}


def test_before_the_fault_nothing_fails(operator: Operator) -> None:
    shown(operator)
    minute = utc_now() - timedelta(minutes=10)
    operator.look_at(f"/ops/topology/?at={minute:%Y-%m-%dT%H:%M:%SZ}")
    expect(operator.get("map-node-user-service")).to_be_visible()
    assert operator.page.locator("[data-testid^=map-edge-][data-state=failing]").count() == 0
    expect(operator.get("live-pill")).to_have_attribute("data-mode", "paused")
    operator.get("map-now").click()
    expect(edge(operator, "reject")).to_have_attribute("data-state", "failing")


def test_the_slider_by_keyboard_changes_the_address(operator: Operator) -> None:
    shown(operator)
    slider = operator.get("map-slider")
    expect(slider).to_have_attribute("aria-valuetext", "now")
    slider.press("ArrowLeft")
    operator.page.wait_for_url(re.compile(r"[?&]at="))
    operator.be_ready()
    expect(slider).not_to_have_attribute("aria-valuetext", "now")
    slider.press("End")
    operator.page.wait_for_url(re.compile(r"/ops/topology/$"))


def test_dragged_back_the_map_shows_what_was_and_let_go_the_address_says_when(
    operator: Operator,
) -> None:
    shown(operator)
    slider = operator.get("map-slider")
    box = slider.bounding_box()
    assert box is not None
    failing = operator.page.locator("[data-testid^=map-edge-][data-state=failing]")
    mouse, height = operator.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] - 2, height)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2, height, steps=4)
    # Still held: the map is that of half a day ago, the address not yet.
    expect(failing).to_have_count(0)
    assert "at=" not in operator.page.url
    mouse.up()
    operator.page.wait_for_url(re.compile(r"[?&]at="))
    operator.be_ready()
    assert failing.count() == 0


def test_without_motion_nothing_moves_and_zoom_changes_the_size(operator: Operator) -> None:
    shown(operator)
    assert operator.page.locator("#map .moving circle").count() == 0
    fitted = width(operator)
    operator.page.get_by_label("Larger").click()
    assert width(operator) > fitted
    operator.page.get_by_label("All of it").click()
    assert width(operator) == fitted
    operator.page.emulate_media(reduced_motion="no-preference")
    expect(operator.page.locator("#map .moving circle").first).to_be_attached()


def test_a_node_leads_to_the_health_of_its_service(operator: Operator) -> None:
    shown(operator)
    node = operator.get("map-node-user-service")
    assert (node.get_attribute("href") or "").endswith("?service=user-service")


def places(operator: Operator) -> dict[str, Any]:
    """Return where each frame is; a badge on its edge comes and goes."""
    drawn = operator.page.locator("#map [data-testid]").all()
    return {
        str(each.get_attribute("data-testid")): each.locator("rect.box").first.bounding_box()
        for each in drawn
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    for name, box in before.items():
        for side in ("x", "y"):
            assert after[name][side] == pytest.approx(box[side], abs=1), name


def width(operator: Operator) -> int:
    return int(operator.page.locator("#map > svg").get_attribute("width") or 0)
