"""A disk without room, or read-only: what is refused was not sent, what was accepted is done once.

What runs while the disk is full goes on by itself once there is room. What was started on a
read-only database has to be started again.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Ledger
from tests.support.http_stack import HttpStack
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.small_disk import ReadOnlyView, SmallDisk
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MEGABYTES = 12
#: Some go into space that a file has already; with this much in each, few do.
PAD = "x" * 30_000
COMMAND: dict[str, Any] = {"target": "counter", "type": "count", "data": {"pad": PAD}}
#: Each way that a message takes through the sender's database.
KEPT: tuple[dict[str, Any], ...] = (
    {**COMMAND, "priority": "CRITICAL"},
    {**COMMAND, "durable": True},
    {**COMMAND, "delay": 0.5},
    {"type": "happened.here", "data": {"pad": PAD}, "priority": "CRITICAL"},
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", MEGABYTES) as disk:
        yield disk


@pytest.fixture
def installation(disk: SmallDisk, installation: Installation) -> Installation:
    """The same, and it ends before the disk does."""
    return installation


def put_database(installation: Installation, disk: SmallDisk) -> Ledger:
    """Have the database of all processes on that disk."""
    file = installation.folder / "gateway.sqlite3"
    shutil.move(file, disk.folder / file.name)
    file.symlink_to(disk.folder / file.name)
    return Ledger(installation)


def put_broker(installation: Installation, disk: SmallDisk) -> None:
    installation.url = f"sqlite:///{disk.folder}/broker.sqlite3"


def start_gateway(installation: Installation) -> Process:
    return installation.start("api-gateway", "celery", "-A", "gateway_app", "worker")


def wait_subscribed(ledger: Ledger) -> None:
    query = "SELECT count(*) FROM gateway_app_subscription WHERE pattern = 'happened.#'"
    eventually(lambda: ledger.one(query) == 1, 30, "the registration")


def send_until_refused(
    installation: Installation, messages: tuple[dict[str, Any], ...], refusal: str
) -> list[str]:
    """Send these again and again until all are refused; return the ids of what was not."""
    said: list[str] = []

    def is_refused() -> bool:
        answers = installation.send([dict(message) for message in messages])
        said.extend(answers)
        return set(answers) == {refusal}

    eventually(is_refused, 60, refusal)
    assert {answer for answer in said if len(answer) != 36} == {refusal}
    return [answer for answer in said if len(answer) == 36]


def assert_done_once(installation: Installation, ledger: Ledger, accepted: list[str]) -> None:
    """Wait until all that was accepted is handled; make sure that nothing else is."""
    assert len(set(accepted)) == len(accepted)
    eventually(lambda: ledger.messages_with_effect >= len(accepted), 60, "all effects")
    open_rows = "SELECT count(*) FROM messaging_outboxmessage WHERE due_at IS NOT NULL"
    eventually(lambda: ledger.one(open_rows) == 0, 60, "all outcomes")
    effects = [row[0] for row in ledger.rows("SELECT message_id FROM effect")]
    assert sorted(effects) == sorted(accepted)
    account = json.loads(installation.manage("bus_account", "--json").stdout)
    assert account["unaccounted"] == 0
    assert ledger.rows("SELECT reason, error FROM gateway_app_deadletter") == []


@pytest.mark.long_elsewhere
def test_what_is_sent_while_the_databases_disk_is_full_is_refused_or_handled_once(
    installation: Installation, disk: SmallDisk, start_counter: Callable[..., Process]
) -> None:
    ledger = put_database(installation, disk)
    workers = [start_gateway(installation), start_counter()]
    wait_subscribed(ledger)
    # Longer than the sender takes to end, on a host with much to do.
    slow = {**COMMAND, "data": {"pad": PAD, "seconds": 5.0}, "priority": "CRITICAL"}
    accepted = installation.send([*KEPT, slow, slow])
    eventually(lambda: ledger.inbox("running"), 20, "a handler is at work")
    disk.fill()
    accepted += send_until_refused(installation, KEPT * 3, "PublishError")
    # Straight to the broker, which has room; the worker has none for what it does with it.
    accepted += installation.send([dict(COMMAND) for _ in range(8)])
    log = workers[1].log
    eventually(lambda: "disk is full" in log.read_text(), 20, "the worker meets the full disk")
    disk.free()
    accepted += installation.send(KEPT)
    assert_done_once(installation, ledger, accepted)
    assert all(worker.is_running() for worker in workers)


@pytest.mark.embedded_only
def test_what_a_full_broker_file_cannot_take_waits_in_the_database(
    installation: Installation, disk: SmallDisk, start_counter: Callable[..., Process]
) -> None:
    put_broker(installation, disk)
    ledger = Ledger(installation)
    workers = [start_gateway(installation), start_counter()]
    wait_subscribed(ledger)
    accepted = installation.send((*KEPT, COMMAND))
    disk.fill()
    low = {**COMMAND, "priority": "LOW"}
    accepted += send_until_refused(installation, (low,) * 10, "BrokerUnavailable")
    kept = installation.send([*KEPT, COMMAND, {**COMMAND, "priority": "HIGH"}])
    assert {len(each) for each in kept} == {36}
    disk.free()
    assert_done_once(installation, ledger, accepted + kept)
    assert all(worker.is_running() for worker in workers)


@pytest.mark.embedded_only
def test_where_everything_is_on_the_full_disk_every_caller_is_told_that_nothing_was_sent(
    installation: Installation, disk: SmallDisk, start_counter: Callable[..., Process]
) -> None:
    installation.variables["MESSAGING_PULSE_FOLDER"] = str(disk.folder / "pulse")
    put_broker(installation, disk)
    ledger = put_database(installation, disk)
    with HttpStack(installation) as stack:
        stack.start()
        instance = stack.start_instance()
        counter = start_counter()
        wait_subscribed(ledger)
        stack.wait_routed("/api/web/orders/1")
        before = len(stack.journal.lines(event="order"))
        accepted = installation.send((*KEPT, COMMAND))
        disk.fill()
        normal = (COMMAND, {**COMMAND, "priority": "HIGH"})
        accepted += send_until_refused(installation, KEPT + normal, "PublishError")
        urls, details = post_until_refused(stack)
        assert all("safe to send again" in detail for detail in details), details
        disk.free()
        assert_done_once(installation, ledger, accepted)
        eventually(lambda: states(stack, urls) <= {"handled"}, 30, "what was answered with 202")
        orders = [line["order"] for line in stack.journal.lines(event="order")[before:]]
        assert sorted(orders) == list(range(len(urls)))
        running = [*stack.processes, instance.process, counter]
        assert all(process.is_running() for process in running)


@pytest.mark.embedded_only
def test_on_a_read_only_database_nothing_is_accepted_and_nothing_is_lost(
    installation: Installation,
    disk: SmallDisk,
    tmp_path: Path,
    start_counter: Callable[..., Process],
) -> None:
    ledger = put_database(installation, disk)
    with HttpStack(installation) as stack, ReadOnlyView(tmp_path / "view", disk.folder) as view:
        stack.start()
        instance = stack.start_instance()
        counter = start_counter()
        wait_subscribed(ledger)
        stack.wait_routed("/api/web/orders/1")
        for process in (*stack.processes, instance.process, counter):
            process.stop()
        accepted = installation.send(KEPT)

        installation.variables["DATABASE_URL"] = f"sqlite:///{view.folder}/gateway.sqlite3"
        stack.start()
        counter = start_counter()
        instance = stack.start_instance(instance.port)
        assert set(installation.send(KEPT)) == {"PublishError"}
        accepted += installation.send([COMMAND])  # straight to the broker
        urls, details = post_until_refused(stack)
        assert urls == []
        assert all("safe to send again" in detail for detail in details), details
        log = counter.log
        eventually(lambda: "readonly database" in log.read_text(), 20, "the worker meets it")
        view.allow_writing()
        # SQLite keeps a process that met the file so from writing for as long as it has it open.
        for process in (*stack.processes, instance.process, counter):
            process.stop()
        stack.start()
        start_counter()
        stack.start_instance(instance.port)
        accepted += installation.send(KEPT)
        assert_done_once(installation, ledger, accepted)
        answer = stack.client.post(
            "/api/web/orders/1", json={}, headers={"Prefer": "respond-async"}
        )
        assert answer.status_code == 202, answer.text
        url = answer.headers["location"]
        eventually(lambda: states(stack, [url]) == {"handled"}, 30, "what was answered with 202")


def post_until_refused(stack: HttpStack) -> tuple[list[str], list[str]]:
    """Return the URLs of what was accepted, and what refusals said."""
    urls: list[str] = []
    details: list[str] = []

    def is_refused() -> bool:
        answer = stack.client.post(
            f"/api/web/orders/{len(urls)}", json={}, headers={"Prefer": "respond-async"}
        )
        if answer.status_code == 202:
            urls.append(answer.headers["location"])
        else:
            assert answer.status_code == 503, answer.text
            assert "Retry-After" in answer.headers
            details.append(answer.json()["detail"])
        return len(details) >= 3

    eventually(is_refused, 60, "refusals")
    return urls, details


def states(stack: HttpStack, urls: list[str]) -> set[str]:
    return {stack.client.get(url).json()["state"] for url in urls}
