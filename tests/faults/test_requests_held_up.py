"""Requests of an event loop while their broker takes nothing: who was sent, and who was not."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from messaging.errors import BrokerUnavailable, PublishUncertain
from tests.support.installation import Installation

pytestmark = pytest.mark.embedded_only

#: On this broker one of them is being sent at a time.
MANY = 6


def test_each_is_told_at_its_time_whether_it_was_sent(shared: Installation) -> None:
    asker = shared.communicator()
    asker.request("probe", "echo", 0, timeout=10)

    async def ask_all() -> list[object]:
        with closing(sqlite3.connect(shared.folder / "broker.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            asks = [
                asker.request_async("probe", "work", {"held": n}, timeout=0.5) for n in range(MANY)
            ]
            try:
                return list(await asyncio.gather(*asks, return_exceptions=True))
            finally:
                other.rollback()

    errors = asyncio.run(ask_all())
    assert [type(each) for each in errors] == [PublishUncertain, *[BrokerUnavailable] * (MANY - 1)]
    assert asker.request("probe", "echo", 1, timeout=10) == 1
    # What the broker took late has expired by then.
    begun = [line["data"] for line in shared.journal("probe").lines(event="begun")]
    assert not [n for n in range(MANY) if {"held": n} in begun]


def test_a_caller_that_stops_waiting_leaves_nothing_to_send(shared: Installation) -> None:
    asker = shared.communicator()
    asker.request("probe", "echo", 0, timeout=10)
    file = shared.folder / "broker.sqlite3"

    async def ask_and_stop() -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asks = [
                asyncio.ensure_future(
                    asker.request_async("probe", "work", {"left": n}, timeout=30)
                )
                for n in range(MANY)
            ]
            await asyncio.sleep(0)
            for ask in asks:
                ask.cancel()
            await asyncio.gather(*asks, return_exceptions=True)
            other.execute("ROLLBACK")
        await asker.request_async("probe", "echo", "behind them", timeout=10)

    asyncio.run(ask_and_stop())
    begun = [line["data"] for line in shared.journal("probe").lines(event="begun")]
    assert not [n for n in range(1, MANY) if {"left": n} in begun]
