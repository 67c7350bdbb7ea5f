"""Messages of one ordering key are handled in order, whatever is killed or fails."""

import os
import random
from collections.abc import Callable

import pytest

from tests.faults.conftest import Ledger
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

WORKERS = 4


def _send(installation: Installation, count: int, keys: int) -> None:
    ids = installation.send(
        {
            "target": "counter",
            "type": "note.in.order",
            "data": [f"key-{number % keys}", number // keys],
            "ordering_key": f"key-{number % keys}",
        }
        for number in range(count)
    )
    assert len(set(ids)) == count


def _in_order(
    installation: Installation,
    ledger: Ledger,
    start_counter: Callable[..., Process],
    *,
    count: int,
    keys: int,
    kills: int,
) -> None:
    installation.settings["receipt_timeout_seconds"] = 3.0  # 30: what Redis lost comes later
    workers = [start_counter() for _ in range(WORKERS)]
    _send(installation, count, keys)
    chance = random.Random(7)
    for number in range(kills):
        wanted = (number + 1) * count // (kills + 1)
        eventually(lambda wanted=wanted: ledger.effects >= wanted, 120)
        victim = chance.randrange(WORKERS)
        workers[victim].kill()
        workers[victim] = start_counter()
    eventually(lambda: ledger.outbox("handled") == count, 120)
    handled = {
        key: [number for (number,) in ledger.rows(_OF_KEY, key)]
        for (key,) in ledger.rows("SELECT DISTINCT service FROM effect")
    }
    assert handled == {f"key-{each}": list(range(count // keys)) for each in range(keys)}
    # Not for want of trying: some had failed before, some had been run by who was killed.
    assert ledger.one("SELECT count(*) FROM messaging_failedround") > count // 50
    assert ledger.unaccounted == 0


#: SQLite has one writer at a time: rows are numbered in the order of the commits.
_OF_KEY = "SELECT number FROM effect WHERE service = ? ORDER BY rowid"


@pytest.mark.slow
@pytest.mark.long_elsewhere
def test_each_key_is_handled_in_order_while_workers_are_killed(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    _in_order(installation, ledger, start_counter, count=400, keys=20, kills=3)


@pytest.mark.long
def test_ten_thousand_messages_over_a_hundred_keys_are_handled_in_order(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    count = int(os.environ.get("TEST_MESSAGES", "10000"))
    _in_order(installation, ledger, start_counter, count=count, keys=100, kills=10)
