"""One message's page: the whole story, in the words of ``bus_explain``, and no secret."""

import pytest
from playwright.sync_api import expect

from tests.browser.operator import Operator
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only
SECRET = {"text": "hello", "password": "s3cret", "evil": "<script>alert(1)</script>"}


def parked(operator: Operator) -> str:
    """Return the id of a message that failed, and was given up."""
    installation = operator.stack.installation
    if not installation.is_running("user-service"):
        installation.start_worker("user-service")
    (message_id,) = installation.send(
        [
            {
                "target": "user-service",
                "type": "reject",
                "data": SECRET,
                "priority": "CRITICAL",
            }
        ]
    )

    database = installation.database()

    def is_parked() -> bool:
        rows = database.execute(
            "SELECT 1 FROM gateway_app_deadletter WHERE message_id = ?", (message_id,)
        )
        return rows.fetchone() is not None

    eventually(is_parked, 30, "it is parked")
    return message_id


def test_the_page_tells_what_the_command_tells(operator: Operator) -> None:
    message_id = parked(operator)
    operator.look_at(f"/ops/messages/{message_id}/")
    told = operator.stack.installation.manage("bus_explain", message_id).stdout
    story = operator.get("msg-story").inner_text()
    for line in told.splitlines():
        words = line.split("  ")[-1].strip()
        if "user-service" in words and "Next" not in line and "manage.py" not in words:
            assert words in story, (words, story)
    assert operator.get("msg-next").inner_text() in told.replace("\n", " ")
    expect(operator.get("msg-state")).to_have_text("parked")
    # The message, and the dead letter that its receiver sent because of it.
    expect(operator.get("msg-arrow")).to_have_count(2)
    expect(operator.get("msg-arrow").first).to_contain_text("reject · parked")
    rows = operator.stack.installation.database().execute(
        "SELECT count(*) FROM messaging_failedround WHERE message_id = ?", (message_id,)
    )
    expect(operator.get("msg-attempt-row")).to_have_count(rows.fetchone()[0])
    expect(operator.get("msg-waterfall")).to_be_visible()
    expect(operator.get("msg-tree")).to_contain_text("reject")
    assert operator.serious_findings() == []
    operator.page.set_viewport_size({"width": 390, "height": 844})
    assert not operator.is_wider_than_the_screen()


def test_who_may_only_look_sees_no_secret_and_what_is_said_does_not_run(viewer: Operator) -> None:
    message_id = parked(viewer)
    viewer.look_at(f"/ops/messages/{message_id}/")
    payload = viewer.get("msg-payload")
    expect(payload).to_contain_text("hello")
    expect(payload).to_contain_text("[redacted]")
    expect(payload).to_contain_text("<script>alert(1)</script>")
    assert "s3cret" not in viewer.page.content()


def test_a_message_that_is_not_on_record_is_said_to_be_so(operator: Operator) -> None:
    answer = operator.page.goto("/ops/messages/nobody/")
    assert answer is not None
    assert answer.status == 404
    expect(operator.page.locator("body")).to_contain_text("No message nobody is on record here")
