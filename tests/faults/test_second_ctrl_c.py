"""A worker that is told to end at once while one of its handlers has the database for itself."""

import signal
from collections.abc import Callable

import pytest

from tests.faults.conftest import Ledger
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


def test_its_runs_are_given_back_uncounted(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    """It waited for 20 s for its own handler's transaction, and both runs counted as deaths."""
    worker = start_counter()
    command = {"target": "counter", "type": "count", "priority": "CRITICAL"}
    installation.send([{**command, "data": {"seconds": 600}}])
    eventually(lambda: ledger.inbox("running") == 1, 20, "the handler is at work")
    worker.signal(signal.SIGINT)
    eventually(lambda: "Warm shutdown" in worker.log.read_text(), 20, "it waits for the handler")
    worker.signal(signal.SIGINT)
    worker.wait(10)
    assert "could not be given back" not in worker.log.read_text()
    found = ledger.rows("SELECT state, unended_runs FROM messaging_inboxmessage")
    assert found == [("ready", 0)]
    assert ledger.effects == 0
    assert ledger.rows("SELECT * FROM messaging_failedround") == []
