"""The Contracts page in a browser: versions that run side by side, and one that does not fit."""

import pytest
from playwright.sync_api import expect

from tests.browser.operator import Operator

pytestmark = pytest.mark.embedded_only
SERVICE = "tests.support.contract_service"


@pytest.mark.own_stack
def test_a_version_that_asks_for_more_than_is_sent_shows_beside_the_one_that_does_not(
    operator: Operator,
) -> None:
    installation = operator.stack.installation

    def start(name: str, version: str) -> None:
        installation.start(
            f"{name}-{version}",
            *("celery", "-A", SERVICE, "worker"),
            CONTRACT_SERVICE=name,
            CONTRACT_VERSION=version,
            CONTRACT_JOURNAL=str(installation.journal(name).path),
        )

    operator.look_at("/ops/contracts/")
    start("orders", "1.1")
    start("billing", "1.0")
    verdict = operator.get("contracts-verdict")
    expect(verdict).to_have_text("All that is declared as sent is accepted", timeout=60_000)
    start("billing", "2.0")
    expect(verdict).to_contain_text("not accepted", timeout=60_000)
    conflict = operator.get("conflict-row")
    expect(conflict).to_have_count(1)
    expect(conflict).to_contain_text("currency: is required, and is not sent")
    expect(operator.get("version-row").filter(has_text="side by side")).to_have_count(2)
    placed = operator.page.locator('[data-testid=contract-row][data-type="order.placed"]')
    expect(placed).to_have_attribute("data-grade", "breaks")
    details = placed.locator("details").first
    details.locator("summary").press("Enter")
    expect(details.locator(".fields")).to_contain_text("lines[].article")
    for theme in ("light", "dark"):
        operator.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        assert operator.serious_findings() == []
    operator.page.set_viewport_size({"width": 390, "height": 844})
    assert not operator.is_wider_than_the_screen()
    assert operator.tables_that_spill() == []
    document = operator.page.request.get("/ops/asyncapi.json").json()
    assert "event.order.placed" in document["channels"]
