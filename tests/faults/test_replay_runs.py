"""Replay runs with real processes: the worker that drives one is killed, and a stop."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.conftest import Ledger
from tests.faults.test_custody_handlers import start_gateway
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

COUNT = 60
RATE = 15
START = """
from gateway_app import replay_runs
replay_runs.start({{"type": "fragile"}}, actor="ada", rate={rate}, key="{key}")
"""
STOP = """
from gateway_app import replay_runs
for run in replay_runs.running():
    replay_runs.stop(run, actor="ada")
"""

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


class Runs:
    """Dead letters of a service that is mended, and runs that replay them."""

    def __init__(self, installation: Installation, ledger: Ledger) -> None:
        self.installation = installation
        self._ledger = ledger

    def shell(self, code: str) -> None:
        done = self.installation.manage("shell", "-c", code)
        assert done.returncode == 0, done.stderr

    def of_last(self, column: str) -> Any:
        statement = f"SELECT {column} FROM gateway_app_replayrun ORDER BY id DESC LIMIT 1"
        return self._ledger.rows(statement)[0][0]

    def wait_until_handled(self, count: int) -> None:
        eventually(lambda: self._ledger.effects >= count, 60, f"{count} handled")


@pytest.fixture
def runs(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> Runs:
    return Runs(installation, ledger)


@pytest.fixture
def gateway(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> Process:
    """A worker of the gateway and a beat, with parked letters of a service mended since."""
    fault = installation.folder / "fault"
    fault.touch()
    worker = start_gateway(installation)
    start_counter()
    installation.start("beat", "celery", "-A", "gateway_app", "beat")
    installation.send({"target": "counter", "type": "fragile", "data": {}} for _ in range(COUNT))
    parked = "SELECT count(*) FROM gateway_app_deadletter WHERE state = 'parked'"
    eventually(lambda: ledger.one(parked) == COUNT, 60)
    fault.unlink()
    return worker


def test_a_run_whose_worker_is_killed_goes_on_and_replays_each_letter_once(
    runs: Runs, ledger: Ledger, gateway: Process
) -> None:
    groups = "SELECT DISTINCT fingerprint, title, frame FROM gateway_app_deadletter"
    ((_, title, frame),) = ledger.rows(groups)
    assert (title, frame) == ("ValueError: broken", "support/effects.py in fail_while_broken")
    runs.shell(START.format(rate=RATE, key="one"))
    for number in range(2):
        runs.wait_until_handled(10 + 15 * number)
        gateway.kill()
        gateway = start_gateway(runs.installation)
    eventually(lambda: runs.of_last("state") == "ended", 90, "ended")
    assert [runs.of_last(name) for name in ("handled", "sent", "skipped", "to_go")] == [
        COUNT,
        0,
        0,
        0,
    ]
    assert (ledger.effects, ledger.messages_with_effect) == (COUNT, COUNT)
    replays = "SELECT count(*) FROM messaging_outboxmessage WHERE generation = 1"
    assert ledger.one(replays) == COUNT
    audited = "SELECT count(*) FROM gateway_app_auditrecord WHERE action = 'replay'"
    assert ledger.one(audited) == COUNT
    account = runs.installation.manage("bus_account", "--json")
    assert account.returncode == 0, account.stdout


def test_after_a_stop_nothing_more_is_replayed(
    runs: Runs, ledger: Ledger, gateway: Process
) -> None:
    runs.shell(START.format(rate=4, key="one"))
    runs.wait_until_handled(4)
    runs.shell(STOP)
    replayed = "SELECT count(*) FROM gateway_app_deadletter WHERE state = 'replayed'"
    at_the_stop = ledger.one(replayed)
    assert runs.of_last("state") == "stopped"
    runs.wait_until_handled(at_the_stop)
    runs.shell(START.format(rate=100, key="two"))
    assert runs.of_last("total") == COUNT - at_the_stop
    eventually(lambda: runs.of_last("state") == "ended", 60, "ended")
    assert (ledger.effects, ledger.messages_with_effect) == (COUNT, COUNT)
