"""Each service with a database of its own, and nothing but the bus's tables in it."""

import contextlib
import sqlite3
from collections.abc import Callable

from tests.faults.conftest import Ledger
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

COUNT = 200


def test_critical_messages_between_databases_have_one_effect_each(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    path = installation.folder / "counter.sqlite3"
    installation.variables["DATABASE_URL"] = f"sqlite:///{path}"
    installation.manage("migrate", "messaging", "--verbosity=0").check_returncode()
    del installation.variables["DATABASE_URL"]
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as own:
        own.execute("CREATE TABLE effect (message_id TEXT, service TEXT, number INT)")

        def effects() -> tuple[int, int]:
            query = "SELECT count(*), count(DISTINCT message_id) FROM effect"
            all_of_them, different = own.execute(query).fetchone()
            return all_of_them, different

        counter = start_counter(DATABASE_URL=f"sqlite:///{path}")
        start_counter("tester")  # the sender's own worker: receipts come to it
        message = {"target": "counter", "type": "count", "data": {"seconds": 0.01}}
        installation.send({**message, "priority": "CRITICAL"} for _ in range(COUNT))
        eventually(lambda: effects()[0] >= COUNT // 10, 30)
        assert effects()[0] < COUNT
        counter.kill()
        start_counter(DATABASE_URL=f"sqlite:///{path}")
        eventually(lambda: ledger.outbox("handled") == COUNT, 60, "every receipt has come")
        assert effects() == (COUNT, COUNT)
    assert ledger.effects == 0
