"""Dead letters: groups grow by themselves, and are replayed, stopped, discarded and undone."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.operator import Operator
from tests.support.http_stack import HttpStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only
PATH = "/ops/dead-letters/"
SERVICE = "billing-service"
#: Where something is left of what was parked, the referring ones first.
TABLES = ("replayrunitem", "replayrun", "deadletternote", "deadletter", "auditrecord")


@pytest.fixture(autouse=True)
def _nothing_is_parked(stack: HttpStack) -> None:
    """Begin as if nothing had ever been parked, with nobody there to handle it."""
    installation = stack.installation
    installation.stop(SERVICE)
    installation.journal(SERVICE).path.unlink(missing_ok=True)
    database = installation.database()
    for table in TABLES:
        database.execute(f"DELETE FROM gateway_app_{table}")


def park(operator: Operator, count: int) -> str:
    """Have a broken service give up so many messages; return their group."""
    installation = operator.stack.installation
    installation.start_worker(SERVICE, PROBE_BROKEN="1")
    send(operator, count)
    database = installation.database()

    def fingerprints() -> list[str]:
        rows = database.execute("SELECT fingerprint FROM gateway_app_deadletter")
        return [fingerprint for (fingerprint,) in rows]

    eventually(lambda: len(fingerprints()) == count, 30, "all of them are parked")
    installation.stop(SERVICE)
    (group,) = set(fingerprints())
    return group


def send(operator: Operator, count: int) -> None:
    message = {"target": SERVICE, "type": "invoice.create", "data": {"email": "a@b"}}
    operator.stack.installation.send([message] * count)


def parked(operator: Operator) -> list[str]:
    """Return the ids of what is parked now, without a process for each look."""
    rows = operator.stack.installation.database().execute(
        "SELECT message_id FROM gateway_app_deadletter WHERE state = 'parked' ORDER BY id"
    )
    return [message_id for (message_id,) in rows]


def effects(operator: Operator) -> list[str]:
    journal = operator.stack.installation.journal(SERVICE)
    return [line["id"] for line in journal.lines(event="handled")]


def test_a_group_grows_without_a_reload_and_counts_what_the_command_counts(
    operator: Operator,
) -> None:
    operator.look_at(PATH)
    installation = operator.stack.installation
    installation.start_worker(SERVICE, PROBE_BROKEN="1")
    send(operator, 2)
    count = operator.get("dl-count")
    expect(count).to_have_text("2")
    send(operator, 3)
    expect(count).to_have_text("5")
    told = json.loads(installation.manage("bus_dead_letters", "--json").stdout)
    assert sorted(each["id"] for each in told) == sorted(parked(operator))
    assert len(told) == 5
    expect(operator.page.locator("[data-testid^='dl-group-']")).to_contain_text("KeyError")


def test_a_canary_then_all_of_them_each_once(operator: Operator) -> None:
    group = park(operator, 12)
    operator.stack.installation.start_worker(SERVICE)
    operator.look_at(f"{PATH}?group={group}")
    operator.get("dl-canary").click()
    canary = operator.get("dl-canary-progress")
    expect(canary).to_have_attribute("data-state", "ended", timeout=20_000)
    expect(canary.get_by_test_id("dl-handled")).to_have_text("3")
    expect(operator.get("dl-tab-parked")).to_contain_text("9")
    # The number that the dialog will name.
    expect(operator.get("dl-discard")).to_contain_text("Discard all 9")
    operator.get("dl-replay-all").click()
    expect(operator.page.locator("#replay-all")).to_contain_text("billing-service handles")
    operator.page.locator("#replay-all [name=rate]").fill("20")
    operator.get("dl-replay-all-confirm").click()
    progress = operator.get("dl-progress")
    expect(progress).to_have_attribute("data-state", "ended", timeout=30_000)
    expect(progress.get_by_test_id("dl-to-go")).to_have_text("0")
    expect(progress.get_by_test_id("dl-handled")).to_have_text("9")
    assert len(effects(operator)) == len(set(effects(operator))) == 12
    expect(operator.get("dl-tab-parked")).to_contain_text("0")


def test_a_run_is_stopped_and_a_reload_shows_where_it_was(operator: Operator) -> None:
    group = park(operator, 10)
    operator.stack.installation.start_worker(SERVICE)
    operator.look_at(f"{PATH}?group={group}")
    operator.get("dl-replay-all").click()
    operator.page.locator("#replay-all [name=rate]").fill("1")
    operator.get("dl-replay-all-confirm").click()
    progress = operator.get("dl-progress")
    expect(progress).to_have_attribute("data-state", "running")
    expect(progress.get_by_test_id("dl-handled")).to_have_text(re.compile("[1-9]"))
    operator.look_at(f"{PATH}?group={group}")
    expect(progress).to_have_attribute("data-state", "running")
    operator.get("dl-stop").click()
    expect(progress).to_have_attribute("data-state", "stopped", timeout=2_000)
    to_go = int(progress.get_by_test_id("dl-to-go").inner_text())
    assert to_go > 0
    assert len(parked(operator)) == to_go


def test_discarded_by_mistake_and_undone(operator: Operator) -> None:
    group = park(operator, 3)
    operator.look_at(f"{PATH}?group={group}")
    operator.get("dl-discard").click()
    expect(operator.get("toast")).to_contain_text("3 messages discarded")
    assert parked(operator) == []
    operator.press("z")
    expect(operator.get("toast")).to_contain_text("3 messages restored")
    assert len(parked(operator)) == 3
    operator.get("dl-row").first.get_by_role("checkbox").check()
    operator.get("dl-discard").click()
    expect(operator.get("toast")).to_contain_text("1 message discarded")
    operator.look_at(f"{PATH}?state=discarded&group={group}")
    operator.get("dl-restore").click()
    expect(operator.get("toast")).to_contain_text("1 message restored")
    assert len(parked(operator)) == 3


def test_an_edited_message_is_checked_and_sent_as_a_new_one(operator: Operator) -> None:
    group = park(operator, 1)
    operator.stack.installation.start_worker(SERVICE)
    (letter,) = parked(operator)
    operator.look_at(f"{PATH}?group={group}")
    operator.get("dl-edit").click()
    operator.get("dl-edit-data").fill("{not json")
    operator.get("dl-edit-send").click()
    expect(operator.get("dl-edit-errors")).to_contain_text("This is no JSON")
    expect(operator.get("dl-edit-data")).to_have_value("{not json")
    operator.get("dl-edit-data").fill('{"email": "new@example.org"}')
    operator.get("dl-edit-send").click()
    expect(operator.get("msg-payload")).to_contain_text("new@example.org")
    sent = operator.get("msg-id").inner_text()
    assert sent != letter
    eventually(lambda: effects(operator) == [sent], 20, "it is handled")
    assert parked(operator) == [letter]


def test_a_message_that_was_sent_edited_is_skipped_and_its_effect_happens_once(
    operator: Operator,
) -> None:
    group = park(operator, 2)
    installation = operator.stack.installation
    installation.start_worker(SERVICE)
    edited, other = parked(operator)
    sent = installation.manage("bus_edit", edited, '{"email": "c@d"}').stdout
    eventually(lambda: len(effects(operator)) == 1, 20, "the edited one is handled")
    assert effects(operator)[0] in sent
    operator.look_at(f"{PATH}?group={group}")
    expect(operator.get("dl-skipped")).to_contain_text("1 of these 2 was already handled")
    # Ticked by hand it is skipped too.
    link = operator.page.locator(f"a[href$='{edited}/']")
    operator.get("dl-row").filter(has=link).get_by_role("checkbox").check()
    operator.get("dl-replay-ticked").click()
    expect(operator.get("toast")).to_contain_text("skipped: sent with other data")
    operator.get("dl-replay-all").click()
    operator.get("dl-replay-all-confirm").click()
    progress = operator.get("dl-progress")
    expect(progress).to_have_attribute("data-state", "ended", timeout=30_000)
    expect(progress).to_contain_text("1 skipped")
    expect(progress.get_by_test_id("dl-to-go")).to_have_text("0")
    assert len(effects(operator)) == len(set(effects(operator))) == 2
    assert edited not in effects(operator)
    assert other in effects(operator)


def test_by_keyboard_a_note_is_only_a_note_and_only_what_is_ticked_is_discarded(
    operator: Operator,
) -> None:
    group = park(operator, 3)
    operator.look_at(f"{PATH}?group={group}")
    operator.get("dl-note").click()
    owner = operator.page.locator("#annotate [name=owner]")
    owner.fill("anna")
    owner.press("Enter")
    expect(operator.get("region-group")).to_contain_text("anna:")
    expect(operator.get("dl-canary-progress")).to_have_count(0)
    rows = operator.get("dl-row")
    rows.first.get_by_role("checkbox").check()
    expect(operator.get("dl-discard")).to_have_accessible_name("Discard ticked")
    # What comes meanwhile must not take the tick away, or it would mean all of them.
    rows.first.get_by_role("checkbox").blur()
    installation = operator.stack.installation
    installation.start_worker(SERVICE, PROBE_BROKEN="1")
    send(operator, 1)
    expect(operator.get("dl-tab-parked")).to_contain_text("4")
    expect(operator.get("region-group").get_by_test_id("changes")).to_be_visible()
    expect(rows.first.get_by_role("checkbox")).to_be_checked()
    rows.first.get_by_role("checkbox").focus()
    operator.press("d")
    expect(operator.get("toast")).to_contain_text("1 message discarded")
    assert len(parked(operator)) == 3
    # A toast that has gone is pressed by no key.
    expect(operator.get("toast-undo")).not_to_be_visible(timeout=20_000)
    operator.press("z")
    operator.look_at(f"{PATH}?group={group}")
    assert len(parked(operator)) == 3


def test_who_may_only_look_sees_no_button_no_payload_and_gets_403(viewer: Operator) -> None:
    group = park(viewer, 1)
    viewer.look_at(f"{PATH}?group={group}")
    expect(viewer.get("dl-row")).to_have_count(1)
    expect(viewer.get("dl-row")).to_contain_text("[redacted]")
    for name in ("dl-canary", "dl-replay-all", "dl-discard", "dl-edit"):
        expect(viewer.get(name)).to_have_count(0)
    token = next(
        each["value"] for each in viewer.page.context.cookies() if each["name"] == "csrftoken"
    )
    form: dict[str, str | float | bool] = {
        "csrfmiddlewaretoken": token,
        "group": group,
        "key": "x",
        "rate": "5",
    }
    base = str(viewer.stack.client.base_url)
    for action in ("canary", "replay-all", "replay", "stop", "discard", "restore", "note"):
        answer = viewer.page.request.post(
            f"{base}{PATH}{action}/", form=form, headers={"Referer": base}
        )
        assert answer.status == 403, action
    assert len(parked(viewer)) == 1
