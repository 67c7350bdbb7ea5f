"""Many dead letters, a canary, and a service that came late."""

import os
from collections.abc import Callable

import pytest

from tests.faults.conftest import Ledger
from tests.faults.test_custody_handlers import start_gateway
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

#: 500 say more: for a run of its own.
COUNT = int(os.environ.get("TEST_LETTERS", "150"))

pytestmark = [pytest.mark.long, pytest.mark.embedded_only]


def test_a_canary_stops_after_1_of_all_and_once_mended_all_are_handled_once(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    fault = installation.folder / "fault"
    fault.touch()
    start_gateway(installation)
    start_counter()
    installation.send({"target": "counter", "type": "fragile", "data": {}} for _ in range(COUNT))
    by_state = "SELECT count(*) FROM gateway_app_deadletter WHERE state = ?"
    eventually(lambda: ledger.one(by_state, "parked") == COUNT, 60)

    dry = installation.manage("bus_replay", "--dry-run")
    assert dry.stdout.endswith(f"{COUNT} would be replayed; nothing was changed.\n")
    stopped = installation.manage("bus_replay", "--canary")
    assert stopped.returncode == 1
    assert f"stopped after 1 of {COUNT}" in stopped.stderr
    eventually(lambda: ledger.one(by_state, "parked") == COUNT, 30)  # the canary is back
    assert (ledger.one(by_state, "replayed"), ledger.effects) == (1, 0)

    fault.unlink()
    replayed = installation.manage("bus_replay", "--canary")
    assert (replayed.returncode, replayed.stdout) == (0, f"{COUNT} replayed.\n")
    eventually(lambda: ledger.effects == COUNT, 60)
    assert ledger.messages_with_effect == COUNT
    assert ledger.one(by_state, "parked") == 0
    account = installation.manage("bus_account", "--json")
    assert account.returncode == 0, account.stdout


def test_a_service_that_came_late_gets_the_broadcasts_and_a_gone_ones_messages_go_elsewhere(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    start_gateway(installation)
    start_counter("early")
    subscribed = "SELECT count(*) FROM gateway_app_subscription WHERE pattern = 'happened.#'"
    eventually(lambda: ledger.one(subscribed) == 1, 30)
    installation.send([{"type": "happened.today", "data": {}, "priority": "CRITICAL"}])
    installation.send([{"target": "gone", "type": "count", "data": {}, "priority": "CRITICAL"}])
    eventually(lambda: ledger.effects == 1, 30)
    start_counter("late")
    assert installation.manage("bus_replay", "--to", "late").stdout == "1 replayed.\n"
    assert installation.manage("bus_replay", "--to", "late").stdout == "0 replayed.\n"
    resolved = installation.manage("bus_resolve", "gone", "--to", "late", "--reason", "renamed")
    assert resolved.stdout == "1 sent to late.\n"
    eventually(lambda: ledger.effects == 3, 30)
    again = installation.manage("bus_replay", "--critical")
    assert again.returncode == 0, again.stderr
    eventually(
        lambda: (
            ledger.one(
                "SELECT count(*) FROM messaging_outboxmessage WHERE state IN "
                "('pending', 'published', 'accepted')"
            )
            == 0
        ),
        30,
    )
    assert ledger.effects == ledger.messages_with_effect == 3
