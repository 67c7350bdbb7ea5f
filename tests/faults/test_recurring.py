"""What recurs is sent once each time, by any number of beats and workers, some killed."""

import pytest

from tests.faults.conftest import Ledger
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually


@pytest.mark.slow
@pytest.mark.long_elsewhere
def test_each_occasion_has_one_message_whoever_is_killed(
    installation: Installation, ledger: Ledger
) -> None:
    installation.settings["receipt_timeout_seconds"] = 3.0

    def start(what: str, number: int) -> Process:
        return installation.start(f"{what}-{number}", "celery", "-A", "gateway_app", what)

    beats = [start("beat", number) for number in range(2)]
    workers = [start("worker", number) for number in range(2)]
    installation.start_worker("clock", PROBE_RECURS="1")
    journal = installation.journal("clock")

    def occasions() -> int:
        return len({line["id"] for line in journal.lines(event="handled")})

    eventually(lambda: occasions() >= 2, 30, "it recurs")
    workers[0].kill()
    beats[0].kill()
    eventually(lambda: occasions() >= 4, 30, "one worker is left")
    workers[1].kill()
    handled = occasions()
    start("worker", 2)
    eventually(lambda: occasions() >= handled + 3, 30, "another one was started")
    eventually(
        lambda: (
            ledger.one("SELECT sent FROM gateway_app_recurringmessage")
            == ledger.one("SELECT count(*) FROM messaging_outboxmessage WHERE type = 'work'")
            == occasions()
        ),
        15,
        "one message for each occasion, and each was handled",
    )
