from bs4 import BeautifulSoup
from django.template.loader import render_to_string

from gateway_app import traps
from gateway_app.doctor.finding import Finding, Grade, fine, trapped
from messaging.envelope import utc_now


def test_the_page_says_what_was_seen_and_how_to_mend_it() -> None:
    now = utc_now()
    found = [
        fine("Disk", "81 GB free"),
        trapped("Broker", traps.NO_BROKER, "refused <here>"),
        Finding("Bus", Grade.NOT_LOOKED_AT, "needs the broker"),
    ]
    shown = {"findings": found, "fine": 1, "checked_at": now, "now": now}
    page = BeautifulSoup(render_to_string("ops/doctor/checks.html", shown), "html.parser")
    rows = page.find_all("li")
    texts = [" ".join(row.get_text(" ").split()) for row in rows]
    assert texts == [
        "fine Disk 81 GB free",
        f"broken Broker refused <here> {traps.NO_BROKER.fix} {traps.NO_BROKER.id}",
        "not looked at Bus not looked at: needs the broker",
    ]
    assert [row.get("data-trap") for row in rows] == [None, traps.NO_BROKER.id, None]
