"""CRITICAL messages while the broker is away, or comes back with nothing."""

import os
from collections.abc import Callable
from contextlib import suppress

import pytest

from messaging import BrokerUnavailable, RequestTimeout, ServiceNotFound
from messaging.clock import SYSTEM_CLOCK
from tests.faults.conftest import Ledger
from tests.support.installation import Installation
from tests.support.outage import Outage, proxied, wipe
from tests.support.processes import Process
from tests.support.waiting import eventually

#: 2000 say more and take three times as long: for a run of its own.
COUNT = int(os.environ.get("TEST_MESSAGES", "500"))
#: How long the broker is away while messages are sent; a longer one costs time, nothing else.
OUTAGE_SECONDS = float(os.environ.get("TEST_OUTAGE_SECONDS", "3"))
#: The promise, at default settings.
WITHIN_SECONDS = 60.0


@pytest.mark.slow
@pytest.mark.usefixtures("vhost")
def test_a_broker_wiped_in_the_middle_loses_no_critical_message(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    installation.send(
        {"target": "counter", "type": "count", "data": {}, "priority": "CRITICAL"}
        for _ in range(COUNT)
    )
    start_counter()
    eventually(lambda: ledger.effects >= COUNT // 10, 30)
    assert ledger.effects < COUNT // 2
    wipe(installation)
    eventually(lambda: ledger.outbox("handled") == COUNT, WITHIN_SECONDS)
    assert (ledger.effects, ledger.messages_with_effect) == (COUNT, COUNT)
    assert ledger.unaccounted == 0


@pytest.mark.usefixtures("vhost")
def test_after_a_wipe_requests_and_broadcasts_find_workers_that_kept_their_connection(
    installation: Installation,
) -> None:
    """On Redis no connection breaks by it: every broadcast was lost, until somebody restarted."""
    installation.start_worker("probe", patterns=("document.*",))
    sender = installation.communicator()
    assert sender.request("probe", "echo", 1, timeout=10) == 1
    database = installation.database()

    def epoch() -> str:
        row = database.execute("SELECT epoch FROM messaging_busstate").fetchone()
        return str(row[0]) if row else ""  # no relay has looked yet

    before = eventually(epoch)
    wipe(installation)
    eventually(lambda: epoch() != before, 30, "the wipe is noticed")

    def is_answered() -> bool:
        asker = installation.communicator()
        with suppress(RequestTimeout, ServiceNotFound, BrokerUnavailable):
            return bool(asker.request("probe", "echo", 2, timeout=1) == 2)
        return False

    eventually(is_answered, 20, "requests are answered")
    message_id = installation.communicator().broadcast("document.viewed", {})
    journal = installation.journal("probe")
    eventually(lambda: journal.lines(event="handled", id=message_id), 10)


@pytest.mark.slow
def test_a_broker_away_while_sending_loses_nothing_and_only_low_fails(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    if installation.features.name == "sqlite":
        installation.url = f"sqlite:///{installation.folder}/broker/broker.sqlite3"
        (installation.folder / "broker").mkdir()
    with proxied(installation) as proxy:
        start_counter()
        message = {"target": "counter", "type": "count", "data": {}}
        kept = [{**message, "priority": p} for p in ("NORMAL", "HIGH", "CRITICAL")] * 20
        installation.send(kept)
        eventually(lambda: ledger.effects == len(kept), 30)
        outage = Outage(installation, proxy)
        outage.begin()
        began, sendings = SYSTEM_CLOCK.monotonic(), 1
        while SYSTEM_CLOCK.monotonic() - began < OUTAGE_SECONDS:
            answers = installation.send([*kept, {**message, "priority": "LOW"}])
            assert answers[-1] == "BrokerUnavailable"
            assert "BrokerUnavailable" not in answers[:-1]
            sendings += 1
        outage.end()
        eventually(lambda: ledger.effects == sendings * len(kept), WITHIN_SECONDS)
        eventually(lambda: ledger.outbox("handled") == sendings * 20, 30)
    assert ledger.messages_with_effect == sendings * len(kept)
    assert ledger.unaccounted == 0
