"""CRITICAL messages to an atomic handler, whatever is killed."""

import os
import random
from collections.abc import Callable

import pytest

from tests.faults.conftest import Ledger
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

#: 2000 messages and 20 kills say more and take five times as long: for a run of its own.
COUNT = int(os.environ.get("TEST_MESSAGES", "500"))
KILLS = int(os.environ.get("TEST_KILLS", "6"))


@pytest.mark.slow
def test_critical_messages_have_one_effect_each_while_workers_are_killed(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    """The relay that publishes what falls due is a thread of the workers: it dies with them."""
    installation.settings["receipt_timeout_seconds"] = 3.0  # 30: what Redis lost comes later
    ids = installation.send(
        {"target": "counter", "type": "count", "data": {}, "priority": "CRITICAL"}
        for _ in range(COUNT)
    )
    assert len(set(ids)) == COUNT
    chance = random.Random(11)
    workers = [start_counter(), start_counter()]
    for number in range(KILLS):
        # At random: a kill falls after so many more effects than the one before.
        wanted = ledger.effects + chance.randrange(5, COUNT // KILLS)
        eventually(lambda wanted=wanted: ledger.effects >= min(wanted, COUNT), 30)
        victim = number % 2
        workers[victim].kill()
        workers[victim] = start_counter()
    eventually(lambda: ledger.outbox("handled") == COUNT, 60)
    assert (ledger.effects, ledger.messages_with_effect) == (COUNT, COUNT)
    assert ledger.inbox("handled") == COUNT
    assert ledger.unaccounted == 0
