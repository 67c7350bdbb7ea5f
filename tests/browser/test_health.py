"""The Health page: what becomes of instances is seen as it happens, and maintenance has an end."""

import signal

import pytest
from playwright.sync_api import expect

from tests.browser.operator import Operator
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only
ROUND = "SELECT round_at FROM gateway_app_registrystatus"
FAILURES = "SELECT health_failures FROM gateway_app_service WHERE name = 'user-service'"


@pytest.mark.own_stack
def test_a_killed_worker_turns_red_with_a_pin_for_each_transition_without_a_reload(
    operator: Operator,
) -> None:
    operator.look_at("/ops/health/")
    doomed = operator.stack.installation.start_worker("user-service")
    strip = operator.get("health-user-service").locator(".strip[data-testid^=strip-]").last
    expect(strip).to_have_attribute("data-state", "UP")
    doomed.kill()
    expect(strip).to_have_attribute("data-state", "DOWN", timeout=35_000)
    pins = strip.get_by_test_id("strip-pin")
    expect(pins).to_have_count(3)  # new to UP, SUSPECT, DOWN
    expect(strip.locator("rect").last).to_have_attribute("data-state", "DOWN")
    expect(operator.get("count-DOWN")).to_contain_text("1 since")
    pins.last.focus()
    operator.press("Enter")
    card = operator.get("pin-card").locator("visible=true")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("silent for")
    expect(card).to_contain_text("SUSPECT")
    expect(card).to_contain_text("DOWN")
    operator.press("Escape")
    expect(card).to_have_count(0)
    expect(operator.get("change-row").first).to_contain_text("is DOWN")
    expect(operator.get("live-pill")).to_have_attribute("data-mode", "live")


@pytest.mark.own_stack
def test_maintenance_is_not_begun_without_an_end_and_is_hatched_with_one(
    operator: Operator,
) -> None:
    worker = operator.stack.installation.start_worker("user-service")
    operator.look_at("/ops/health/")
    strip = operator.get("health-user-service").locator(".strip[data-testid^=strip-]").last
    expect(strip).to_have_attribute("data-state", "UP")
    operator.get("maintenance-open").click()
    form = operator.get("maintenance-form")
    form.locator("select").select_option("service:user-service")
    form.locator("[name=reason]").fill("kernel update")
    submit = form.get_by_role("button", name="Begin maintenance")
    submit.click()
    expect(form).to_be_visible()  # the browser asks for what is missing
    expect(strip).to_have_attribute("data-state", "UP")
    form.get_by_label("15 min").check()
    submit.click()
    expect(operator.get("toast")).to_contain_text("is in maintenance until")
    expect(strip).to_have_attribute("data-state", "MAINTENANCE")
    hatched = strip.locator("rect[data-state=MAINTENANCE]")
    expect(hatched).to_have_attribute("fill", "url(#hatch-maintenance)")
    row = operator.get("change-row").filter(has_text="anna: until")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("kernel update")
    worker.signal(signal.SIGSTOP)  # as during an update of its host: it answers no check
    database = operator.stack.installation.database()
    for _ in range(2):
        before = database.execute(ROUND).fetchone()
        eventually(lambda before=before: database.execute(ROUND).fetchone() != before, 20)
    assert database.execute(FAILURES).fetchone() == (0,)
    worker.signal(signal.SIGCONT)
    operator.get("maintenance-end").first.click()
    expect(strip).to_have_attribute("data-state", "UP")
    expect(operator.get("maintenance-end")).to_have_count(0)


def test_a_check_out_of_turn_is_one_click(operator: Operator) -> None:
    operator.look_at("/ops/health/?range=24h&service=api-gateway")
    operator.get("check-now").click()
    expect(operator.get("toast")).to_be_visible()
    assert operator.page.url.endswith("/ops/health/?range=24h&service=api-gateway")


def test_what_is_typed_into_the_form_survives_updates(operator: Operator) -> None:
    operator.look_at("/ops/health/")
    operator.get("maintenance-open").click()
    reason = operator.get("maintenance-form").locator("[name=reason]")
    reason.fill("half a rea")
    operator.stack.installation.start_worker("order-service")
    expect(operator.get("health-order-service")).to_be_visible()
    expect(reason).to_be_visible()
    expect(reason).to_have_value("half a rea")


def test_the_page_is_sound_with_a_card_and_the_form_open(operator: Operator) -> None:
    operator.look_at("/ops/health/")
    expect(operator.get("strip-pin").first).to_be_visible()
    for opener in (operator.get("strip-pin").first, operator.get("maintenance-open")):
        opener.click()
        assert operator.serious_findings() == []
    operator.press("Escape")
    operator.page.set_viewport_size({"width": 390, "height": 844})
    assert not operator.is_wider_than_the_screen()


def test_who_may_only_look_has_no_button(viewer: Operator) -> None:
    viewer.look_at("/ops/health/")
    expect(viewer.get("region-instances").get_by_text("api-gateway")).to_be_visible()
    expect(viewer.get("maintenance-open")).to_have_count(0)
    expect(viewer.get("check-now")).to_have_count(0)
