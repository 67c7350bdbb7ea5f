"""Each service with keys of its own: what the gateway says in their place is believed as well.

Its copies of a broadcast, its replays, and what an operator has edited. Services have databases of
their own, so that receipts travel, and are signed, too.
"""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

pytestmark = pytest.mark.promise(
    "with a key for each service, the gateway's copies, replays and edits are believed, once"
)
KEYS = {
    name: f"{name}-2026@{name}:{name[0] * 40}"
    for name in ("api-gateway", "tester", "billing", "shop")
}
RECEIVERS = ("billing", "shop")


class Signed:
    """The gateway, which knows all keys, and services that know three."""

    def __init__(self, installation: Installation, database: Path) -> None:
        self.installation = installation
        # Of the gateway and of whoever uses its database.
        installation.settings["signing_keys"] = ",".join(KEYS.values())
        self._databases = {"api-gateway": installation.database()}
        for name in RECEIVERS:
            file = installation.folder / f"{name}.sqlite3"
            shutil.copy(database, file)
            self._databases[name] = sqlite3.connect(file, timeout=30, isolation_level=None)
            self._databases[name].execute(
                "CREATE TABLE effect (message_id TEXT, service TEXT, number INT)"
            )
        self.gateway = installation.start("api-gateway", "celery", "-A", "gateway_app", "worker")
        self.workers = {name: self.start(name) for name in RECEIVERS}
        query = "SELECT count(*) FROM gateway_app_subscription WHERE pattern = 'happened.#'"
        eventually(lambda: self.rows(query) == [(2,)], 30, "the registrations")

    def start(self, name: str) -> Process:
        self.installation._services.add(name)
        return self.installation.start(
            name,
            *("celery", "-A", "tests.support.effects", "worker"),
            EFFECTS_SERVICE=name,
            DATABASE_URL=f"sqlite:///{self.installation.folder}/{name}.sqlite3",
            MESSAGING_SIGNING_KEYS=keys_of(name, "api-gateway", "tester"),
        )

    def send(self, message: dict[str, Any]) -> str:
        """Send in a service's name, from a process that has its key and no other."""
        self.installation.variables["MESSAGING_SIGNING_KEYS"] = keys_of("tester")
        try:
            (message_id,) = self.installation.send([message])
        finally:
            del self.installation.variables["MESSAGING_SIGNING_KEYS"]
        assert len(message_id) == 36, message_id
        return message_id

    def rows(self, query: str, *parameters: Any, of: str = "api-gateway") -> list[Any]:
        return self._databases[of].execute(query, parameters).fetchall()

    def effects(self, name: str) -> list[str]:
        return [row[0] for row in self.rows("SELECT message_id FROM effect", of=name)]

    def give_up(self) -> str:
        """Have a service give a message up; return its id. It would not fail any more."""
        fault = self.installation.folder / "fault"
        fault.touch()
        message_id = self.send({"target": "billing", "type": "fragile", "data": {"n": 1}})
        eventually(lambda: self.letters() == [(message_id, "parked")], 30, "the dead letter")
        fault.unlink()
        return message_id

    def letters(self) -> list[Any]:
        return self.rows("SELECT message_id, state FROM gateway_app_deadletter")

    def manage(self, *arguments: str) -> str:
        done = self.installation.manage(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_settled(self) -> None:
        """Wait for all outcomes, and make sure that nobody doubted anything on the way."""
        query = "SELECT count(*) FROM messaging_outboxmessage WHERE due_at IS NOT NULL"
        for name in self._databases:
            eventually(lambda name=name: self.rows(query, of=name) == [(0,)], 30, name)
        for process in (self.gateway, *self.workers.values()):
            assert process.is_running()
            log = process.log.read_text()
            for sign in ("BadSignature", "not signed", "dropped", "may speak for", "ERROR"):
                assert sign not in log, log


def keys_of(*names: str) -> str:
    return ",".join(KEYS[name] for name in names)


@pytest.fixture
def signed(installation: Installation, migrated_database: Path) -> Signed:
    return Signed(installation, migrated_database)


def test_a_signed_broadcast_reaches_who_is_up_and_later_who_was_down(signed: Signed) -> None:
    signed.workers["shop"].stop()
    message_id = signed.send({"type": "happened.today", "data": {}, "priority": "CRITICAL"})
    eventually(lambda: signed.effects("billing") == [message_id], 30, "who is up has it")
    missing = "SELECT target FROM messaging_outboxmessage WHERE settled_at IS NULL"
    eventually(lambda: signed.rows(missing) == [("shop",)], 30, "only who is down has not")
    signed.workers["shop"] = signed.start("shop")
    eventually(lambda: signed.effects("shop") == [message_id], 30, "it comes when that is back")
    signed.wait_settled()
    assert (signed.effects("billing"), signed.effects("shop")) == ([message_id], [message_id])
    assert signed.letters() == []


def test_a_signed_message_that_was_given_up_is_replayed_once(signed: Signed) -> None:
    message_id = signed.give_up()
    signed.manage("bus_replay", "--id", message_id)
    eventually(lambda: signed.effects("billing") == [message_id], 30, "its effect")
    signed.manage("bus_replay", "--id", message_id)
    signed.wait_settled()
    assert signed.effects("billing") == [message_id]
    assert signed.letters() == [(message_id, "replayed")]


def test_a_signed_message_is_sent_with_other_data_once(signed: Signed) -> None:
    message_id = signed.give_up()
    command = ("bus_edit", message_id, '{"n": 2}', "--key", "k")
    edited = signed.manage(*command).strip()
    eventually(lambda: signed.effects("billing") == [edited], 30, "its effect")
    assert signed.manage(*command).strip() == edited
    signed.wait_settled()
    assert signed.effects("billing") == [edited] != [message_id]
    assert signed.letters() == [(message_id, "parked")]
