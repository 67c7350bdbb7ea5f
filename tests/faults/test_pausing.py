"""A paused service runs and takes no messages, whatever is killed, until it is resumed."""

import json
import sqlite3
from typing import Any

import pytest

from messaging.custody.link import Link
from tests.support.installation import Installation
from tests.support.waiting import eventually

SERVICE = "user-service"
WORK = {"target": SERVICE, "type": "work", "data": 1}


class Bus:
    """The gateway's worker and beat with short times, and a service beside them."""

    def __init__(self, installation: Installation) -> None:
        installation.settings |= {
            "heartbeat_seconds": 0.5,
            "suspect_seconds": 5.0,
            "down_seconds": 10.0,
            "health_check_seconds": 1.0,
        }
        self.installation = installation
        self.database: sqlite3.Connection = installation.database()
        self.link = Link(installation.communicator().bus)
        for name, program in (("api-gateway", "worker"), ("beat", "beat")):
            installation.start(name, "celery", "-A", "gateway_app", program)
        self.worker = installation.start_worker(SERVICE)
        eventually(lambda: self.load() != {}, 20, "its first heartbeat")

    def load(self) -> dict[str, Any]:
        """What the instance that came last has said of its load."""
        row = self.database.execute(
            "SELECT i.load_json FROM gateway_app_serviceinstance i"
            " JOIN gateway_app_service s ON s.id = i.service_id"
            " WHERE s.name = ? ORDER BY i.id DESC LIMIT 1",
            (SERVICE,),
        ).fetchone()
        return dict(json.loads(row[0])) if row and row[0] else {}

    def instances(self) -> int:
        row = self.database.execute(
            "SELECT count(*) FROM gateway_app_serviceinstance i"
            " JOIN gateway_app_service s ON s.id = i.service_id WHERE s.name = ?",
            (SERVICE,),
        ).fetchone()
        return int(row[0])

    def handled(self) -> list[str]:
        journal = self.installation.journal(SERVICE)
        return [line["id"] for line in journal.lines(event="handled")]

    def command(self, *arguments: str) -> str:
        done = self.installation.manage(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_paused(self, *, is_paused: bool = True) -> None:
        eventually(lambda: self.load().get("paused", False) == is_paused, 20, f"{is_paused=}")

    def wait_handled(self, count: int) -> None:
        eventually(lambda: len(self.handled()) >= count, 20, f"{count} handled")

    def rounds(self) -> str:
        row = self.database.execute("SELECT round_at FROM gateway_app_registrystatus").fetchone()
        return str(row)


@pytest.fixture
def bus(installation: Installation) -> Bus:
    return Bus(installation)


@pytest.mark.long_elsewhere
def test_what_is_sent_waits_also_for_a_worker_that_was_killed_and_comes_back(bus: Bus) -> None:
    bus.installation.send([WORK] * 3)
    bus.wait_handled(3)
    said = bus.command("bus_pause", SERVICE, "--reason", "schema migration")
    assert f"{SERVICE}: paused" in said
    bus.wait_paused()
    sent = bus.installation.send([WORK] * 4 + [{**WORK, "priority": "CRITICAL"}])
    bus.worker.kill()
    bus.installation.start_worker(SERVICE)
    # The new one has taken none from its start, and health checks are not what it fails in.
    eventually(lambda: bus.load() == {**bus.load(), "consumed": 0, "paused": True}, 20, "paused")
    before = bus.rounds()
    eventually(lambda: bus.rounds() != before, 20, "another health round")
    assert bus.link.queue_length(SERVICE) >= 5
    assert len(bus.handled()) == 3
    told = json.loads(bus.command("bus_services", "--json"))
    (service,) = (each for each in told if each["name"] == SERVICE)
    assert service["paused"]["reason"] == "schema migration"
    assert service["instances"][-1]["state"] == "UP"

    bus.command("bus_resume", SERVICE)
    bus.wait_handled(8)
    assert set(sent) <= set(bus.handled())
    assert len(bus.handled()) == len(set(bus.handled())) == 8
    bus.wait_paused(is_paused=False)


@pytest.mark.embedded_only
def test_a_worker_that_was_not_told_is_told_again(bus: Bus) -> None:
    bus.command("bus_pause", SERVICE, "--reason", "it")
    bus.wait_paused()
    # As if it had another database, and missed the word.
    bus.database.execute("DELETE FROM messaging_pausedservice")
    bus.worker.kill()
    bus.installation.start_worker(SERVICE)
    eventually(lambda: bus.instances() == 2, 20, "the new one has registered")
    bus.wait_paused()
    # As if the gateway had another database: nobody wants it to be paused.
    bus.database.execute("DELETE FROM gateway_app_queuepause")
    bus.wait_paused(is_paused=False)
    bus.installation.send([WORK])
    bus.wait_handled(1)


def test_drained_it_handles_what_waits_and_is_paused_then(bus: Bus) -> None:
    bus.installation.send([{**WORK, "data": {"seconds": 0.3}}] * 12)
    said = bus.command("bus_pause", SERVICE, "--reason", "it", "--drain")
    assert "once its queue is empty" in said
    bus.wait_handled(12)
    bus.wait_paused()
    bus.installation.send([WORK])
    bus.command("bus_resume", SERVICE)
    bus.wait_handled(13)


@pytest.mark.embedded_only
def test_what_cannot_be_paused_is_said(bus: Bus) -> None:
    for name, why in (("api-gateway", "keeps the registry"), ("nobody", "no service named")):
        done = bus.installation.manage("bus_pause", name, "--reason", "it")
        assert done.returncode == 2
        assert why in done.stderr
    done = bus.installation.manage("bus_pause", SERVICE, "--reason", "  ")
    assert done.returncode == 2
    assert "needs a reason" in done.stderr
