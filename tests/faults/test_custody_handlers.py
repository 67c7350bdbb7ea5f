"""What fails, what kills, and who is away: each ends where it was promised to."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.faults.conftest import Ledger
from tests.support.installation import ROOT, Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def start_gateway(installation: Installation) -> Process:
    return installation.start("api-gateway", "celery", "-A", "gateway_app", "worker")


def letters(ledger: Ledger) -> list[tuple[str, str, int]]:
    return ledger.rows("SELECT type, reason, attempts FROM gateway_app_deadletter ORDER BY type")


def test_failures_end_handled_retried_or_parked_by_priority(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    start_gateway(installation)
    start_counter()
    installation.send(
        [
            {"target": "counter", "type": "count.sixth", "priority": "CRITICAL"},
            {"target": "counter", "type": "fail.always", "priority": "NORMAL"},
            {"target": "counter", "type": "fail.always", "priority": "CRITICAL"},
            {"target": "counter", "type": "nobody.handles.this", "priority": "CRITICAL"},
        ]
    )
    eventually(lambda: len(letters(ledger)) == 2, 30)
    assert letters(ledger) == [
        ("fail.always", "attempts_exhausted", 2),
        ("nobody.handles.this", "no_handler", 0),
    ]
    # CRITICAL is tried for ever, though the handler's policy ends after two.
    attempts = "SELECT attempts FROM messaging_inboxmessage WHERE type = 'fail.always' AND "
    eventually(lambda: ledger.rows(f"{attempts} priority = 'CRITICAL'") >= [(3,)], 30)
    eventually(lambda: ledger.outbox("handled") >= 2, 30)
    eventually(lambda: ledger.rows("SELECT number FROM effect") == [(6,)], 30)
    assert ledger.unaccounted == 0


@pytest.mark.long_elsewhere
@pytest.mark.parametrize("priority", ["NORMAL", "CRITICAL"])
def test_what_kills_its_process_is_parked_after_3_and_holds_up_nothing(
    installation: Installation,
    ledger: Ledger,
    start_counter: Callable[..., Process],
    priority: str,
) -> None:
    start_gateway(installation)
    installation.send(
        [
            {"target": "counter", "type": "kill", "priority": priority},
            *({"target": "counter", "type": "count", "data": {}} for _ in range(100)),
        ]
    )
    start_counter(MESSAGING_WORKER_POOL="prefork", MESSAGING_WORKER_CONCURRENCY="2")
    eventually(lambda: ledger.effects == 100, 60)
    eventually(lambda: letters(ledger), 60)
    ((_, reason, attempts),) = letters(ledger)
    assert (reason, attempts) == ("killed_worker", 3)
    ((error,),) = ledger.rows("SELECT error FROM gateway_app_deadletter")
    assert "signal 9" in error
    assert ledger.messages_with_effect == 100
    deaths = "SELECT first, last FROM messaging_failedround WHERE died_run != '' ORDER BY first"
    assert ledger.rows(deaths) == [(1, 1), (2, 2), (3, 3)]


def test_a_critical_broadcast_waits_for_the_subscriber_that_is_down(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    start_gateway(installation)
    workers = {name: start_counter(name) for name in ("one", "two", "three")}
    pattern = "SELECT count(*) FROM gateway_app_subscription WHERE pattern = 'happened.#'"
    eventually(lambda: ledger.one(pattern) == 3, 30)
    workers["three"].stop()
    (message_id,) = installation.send(
        [{"type": "happened.today", "data": {}, "priority": "CRITICAL"}]
    )
    eventually(lambda: ledger.effects == 2, 30)
    missing = (
        "SELECT target FROM messaging_outboxmessage WHERE message_id = ? AND settled_at IS NULL"
    )
    eventually(lambda: ledger.rows(missing, message_id) == [("three",)], 10)
    start_counter("three")
    eventually(lambda: ledger.effects == 3, 30)
    eventually(lambda: ledger.rows(missing, message_id) == [], 10)
    assert ledger.rows("SELECT DISTINCT message_id FROM effect") == [(message_id,)]


COMMIT_AND_DIE = """
import os, django
django.setup()
from django.db import transaction
from messaging import MessagePriority, ServiceCommunicator
communicator = ServiceCommunicator("tester")
send = lambda: communicator.send_to_service("counter", "count", {}, priority="CRITICAL")
try:
    with transaction.atomic():
        send()
        raise ValueError
except ValueError:
    pass
with transaction.atomic():
    transaction.on_commit(lambda: os.kill(os.getpid(), 9))  # before the message is handed on
    print(send(), flush=True)
"""


@pytest.mark.embedded_only
def test_a_rolled_back_transaction_sends_nothing_and_a_committed_one_survives_its_process(
    installation: Installation, ledger: Ledger, start_counter: Callable[..., Process]
) -> None:
    installation._services.add("tester")
    done = subprocess.run(
        [sys.executable, "-c", COMMIT_AND_DIE],
        cwd=ROOT,
        env=installation.environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == -9
    start_counter()
    eventually(lambda: ledger.outbox("handled") == 1, 30)
    assert ledger.rows("SELECT message_id FROM effect") == [(done.stdout.strip(),)]
