"""What is sent to a service that is known to be down waits in the database, not on the broker."""

import json
from typing import Any

import pytest

from messaging.custody.link import Link
from tests.faults.conftest import Ledger
from tests.faults.test_custody_handlers import start_gateway
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

COUNT = 50
#: From the least urgent on: they are sent in this order.
PRIORITIES = ("LOW", "NORMAL", "HIGH", "CRITICAL")
SERVING = "SELECT count(*) FROM gateway_app_serviceinstance WHERE left_at IS NULL"


def send_from_the_gateway(installation: Installation, messages: list[dict[str, Any]]) -> list[str]:
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    done = installation.run("python", "-m", "tests.support.gateway_sender", text=lines)
    done.check_returncode()
    return done.stdout.split()


def test_what_a_service_missed_reaches_it_once_in_order_of_priority(
    installation: Installation, ledger: Ledger
) -> None:
    start_gateway(installation)
    installation.start("beat", "celery", "-A", "gateway_app", "beat")
    probe = installation.start_worker("probe", concurrency=1)
    names = "SELECT count(*) FROM gateway_app_service WHERE name = 'probe'"
    swept = "SELECT count(*) FROM gateway_app_registrystatus WHERE swept_at IS NOT NULL"
    eventually(lambda: ledger.one(names) and ledger.one(swept), 30, "the registry")
    probe.stop()
    of_probe = f"{SERVING} AND service_id = (SELECT id FROM gateway_app_service WHERE name = ?)"
    eventually(lambda: ledger.one(of_probe, "probe") == 0, 30, "its farewell")

    messages = [
        {
            "target": "probe",
            "type": "work",
            "data": {"number": number},
            "priority": PRIORITIES[number % len(PRIORITIES)],
        }
        for number in range(COUNT)
    ]
    broker = Link(installation.communicator().bus)
    before = broker.queue_length("probe")  # an answer to its registration, perhaps
    ids = send_from_the_gateway(installation, messages)
    held = "SELECT count(*) FROM messaging_outboxmessage WHERE target = 'probe' AND "
    assert ledger.one(f"{held} held_at IS NOT NULL AND state = 'pending'") == COUNT
    assert ledger.one(f"{held} publishes > 0") == 0
    assert broker.queue_length("probe") <= before
    assert ledger.one("SELECT count(*) FROM messaging_inboxmessage WHERE service = 'probe'") == 0

    installation.start_worker("probe", concurrency=1)
    journal = installation.journal("probe")
    eventually(lambda: ledger.one(f"{held} state = 'handled'") == COUNT, 60, "all of them")
    wanted = sorted(
        range(COUNT), key=lambda number: (-PRIORITIES.index(messages[number]["priority"]), number)
    )
    begun = journal.lines(event="begun")
    assert [line["data"]["number"] for line in begun] == wanted
    assert [line["id"] for line in begun] == [ids[number] for number in wanted]
    assert {line["attempt"] for line in begun} == {1}
    assert ledger.one(f"{held} publishes > 1") == 0  # what was handled first is not marked
    assert ledger.unaccounted == 0
