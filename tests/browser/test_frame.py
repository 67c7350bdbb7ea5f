"""What every page does: rights, themes, keys, the stream and its loss, narrow screens, axe."""

import re
import signal
from typing import Any

import httpx
import pytest
from playwright.sync_api import Route, expect

from gateway_app.ops.pages import PAGES
from tests.browser.operator import Operator
from tests.support.http_stack import HttpStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only
PATHS = [f"/ops/{page.path}" for page in PAGES if "<" not in page.path]


def test_every_page_is_sound_in_both_themes_and_narrow(operator: Operator) -> None:
    installation = operator.stack.installation
    installation.start_worker("user-service")
    installation.send([{"target": "user-service", "type": "reject", "priority": "CRITICAL"}])
    expect(operator.get("service-row-user-service")).to_contain_text("1 parked")
    for path in PATHS:
        operator.look_at(path)
        for theme in ("light", "dark"):
            operator.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            assert operator.serious_findings() == [], (path, theme)
        assert operator.tables_that_spill() == [], path
        operator.page.set_viewport_size({"width": 390, "height": 844})
        assert not operator.is_wider_than_the_screen(), path
        assert operator.tables_that_spill() == [], path
        operator.page.set_viewport_size({"width": 1440, "height": 900})


def test_the_theme_is_kept_on_pages_and_in_the_admin(operator: Operator) -> None:
    root = operator.page.locator("html")
    operator.page.emulate_media(color_scheme="light")
    operator.page.get_by_label("Switch between dark and light").click()
    expect(root).to_have_attribute("data-theme", "dark")
    operator.look_at("/ops/doctor/")
    expect(root).to_have_attribute("data-theme", "dark")
    operator.page.goto("/admin/")
    expect(root).to_have_attribute("data-theme", "dark")


def test_keys_alone_are_enough(operator: Operator) -> None:
    operator.press("Tab")
    expect(operator.page.locator(".skip")).to_be_focused()
    operator.press("g")
    operator.press("m")
    expect(operator.page.locator("h1")).to_have_text("Messages")
    operator.press("/")
    expect(operator.page.locator("[data-key='/']")).to_be_focused()
    operator.page.keyboard.type("g")
    expect(operator.page.locator("[data-key='/']")).to_have_value("g")
    operator.press("Escape")
    operator.press("?")
    expect(operator.page.locator("#help")).to_be_visible()
    operator.press("Escape")
    expect(operator.page.locator("#help")).to_be_hidden()
    operator.press("p")
    expect(operator.get("live-pill")).to_have_attribute("data-mode", "paused")
    operator.press("p")
    expect(operator.get("live-pill")).to_have_attribute("data-mode", "live")


@pytest.mark.own_stack
def test_a_server_that_is_away_makes_the_page_stale_and_comes_back(
    operator: Operator, stack: HttpStack
) -> None:
    pill = operator.get("live-pill")
    expect(pill).to_have_attribute("data-mode", "live")
    web = stack.web
    web.signal(signal.SIGSTOP)
    expect(pill).to_have_attribute("data-mode", "stale", timeout=15_000)
    expect(pill).to_contain_text("Stale since")
    web.signal(signal.SIGCONT)
    expect(pill).to_have_attribute("data-mode", "live")
    web.kill()
    expect(pill).to_have_attribute("data-mode", "stale", timeout=15_000)
    stack.start_web()
    expect(pill).to_have_attribute("data-mode", "live")
    expect(operator.get("verdict")).to_have_count(1)
    # What the browser says of a server that is not there.
    operator.complaints.clear()


def test_a_list_in_use_is_not_changed_until_it_is_left(operator: Operator) -> None:
    installation = operator.stack.installation
    events = operator.get("region-events")
    installation.start_worker("user-service")
    answered = operator.get("event-row").filter(has_text="user-service new → UP: health check")
    expect(answered).to_have_count(1)
    before = operator.get("event-row").count()
    operator.get("event-row").first.hover()
    installation.start_worker("order-service")
    expect(events.get_by_test_id("changes")).to_contain_text("new")
    assert operator.get("event-row").count() == before
    operator.page.locator("h1").hover()
    expect(operator.get("event-row").filter(has_text="order-service").first).to_be_visible()
    expect(events.get_by_test_id("changes")).to_have_count(0)


def test_the_stream_begins_also_where_its_script_comes_late(operator: Operator) -> None:
    """A user saw "Connecting" for ever, now and then, after a click on a link."""
    held: list[Route] = []
    operator.page.route("**/hx-sse.min.js", lambda route: held.append(route))
    operator.page.goto("/ops/", wait_until="commit")
    operator.page.wait_for_function("() => typeof htmx === 'object'")
    held[0].continue_()
    expect(operator.get("live-pill")).to_have_attribute("data-mode", "live")


@pytest.mark.own_stack
def test_a_region_that_cannot_be_read_keeps_what_it_shows_and_says_since_when(
    operator: Operator,
) -> None:
    installation = operator.stack.installation
    events, verdict = operator.get("region-events"), operator.get("region-verdict")
    expect(operator.get("event-row").first).to_be_visible()
    database = installation.database()
    database.execute("ALTER TABLE gateway_app_auditrecord RENAME TO away")
    expect(events).to_have_attribute("data-as-of", re.compile(r"\d\d:\d\d"))
    expect(operator.get("event-row").first).to_be_visible()
    # The others go on.
    installation.start_worker("user-service")
    expect(operator.get("service-row-user-service")).to_be_visible()
    assert verdict.get_attribute("data-as-of") is None
    database.execute("ALTER TABLE away RENAME TO gateway_app_auditrecord")
    expect(events).not_to_have_attribute("data-as-of", re.compile("."))
    expect(operator.get("event-row").filter(has_text="user-service").first).to_be_visible()


def test_typed_text_and_focus_survive_updates(operator: Operator) -> None:
    search = operator.page.locator("[data-key='/']")
    search.fill("half a wo")
    operator.stack.installation.start_worker("audit-service")
    expect(operator.get("service-row-audit-service")).to_be_visible()
    expect(search).to_be_focused()
    expect(search).to_have_value("half a wo")


def test_who_may_only_look_is_not_offered_more(viewer: Operator) -> None:
    for path in PATHS:
        viewer.look_at(path)
        assert viewer.page.locator("main form[method=post]").count() == 0, path


@pytest.mark.own_stack
def test_strangers_are_sent_to_the_login_and_who_may_not_gets_403(
    viewer: Operator, stack: HttpStack
) -> None:
    with httpx.Client(base_url=str(stack.client.base_url), trust_env=False) as stranger:
        answer = stranger.get("/ops/doctor/")
        assert answer.status_code == 302
        assert answer.headers["location"] == "/admin/login/?next=/ops/doctor/"
        assert stranger.get("/ops/live/overview/").status_code == 401
    viewer.page.context.set_extra_http_headers({})
    stack.installation.manage(
        "shell",
        "-c",
        "from django.contrib.auth.models import User;"
        "User.objects.get(username='sam').user_permissions.clear()",
    )
    assert viewer.page.request.get("/ops/").status == 403
    eventually(lambda: _status(viewer) == 403, 5, "no page any more")


def _status(viewer: Operator) -> Any:
    return viewer.page.request.get("/ops/doctor/").status
