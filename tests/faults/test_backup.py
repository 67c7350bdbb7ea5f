"""Backups taken while everything runs, and what becomes of the messages in them."""

import json
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from messaging.transport import schema
from tests.faults.conftest import Ledger
from tests.support.brokers import BROKERS, Features
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]

FILES = {"gateway.sqlite3", "broker.sqlite3", "manifest.json"}


def messages(count: int) -> list[dict[str, Any]]:
    """What goes each way there is: past the database, through it, and from one to the other."""
    work: dict[str, Any] = {"target": "counter", "type": "count", "data": {"seconds": 0.02}}
    sixth: dict[str, Any] = {"target": "counter", "type": "count.sixth", "data": {}}
    kinds = [
        {**work, "priority": "CRITICAL"},
        {**work, "priority": "NORMAL"},
        {**work, "priority": "NORMAL", "delay": 2.0},
        {**sixth, "priority": "NORMAL"},
    ]
    chosen = [dict(kinds[number % len(kinds)]) for number in range(count)]
    for number, message in enumerate(chosen):
        if "delay" in message:
            # Spread: whenever the backup is taken, some go to the broker just then.
            message["delay"] += number / count * 10.0
    return chosen


@pytest.fixture
def other(
    installation: Installation, tmp_path: Path, migrated_database: Path
) -> Iterator[Installation]:
    """An empty installation elsewhere, to restore into."""
    folder = tmp_path / "other"
    folder.mkdir()
    elsewhere = Installation(installation.features, folder, migrated_database)
    elsewhere.settings["namespace"] = installation.namespace
    yield elsewhere
    elsewhere.close()


def integrity(path: Path) -> str:
    with sqlite3.connect(path, timeout=30) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])


def restored(installation: Installation, backup: Path) -> "subprocess.CompletedProcess[str]":
    done = installation.manage("bus_restore", str(backup))
    assert done.returncode == 0, done.stderr
    return done


def test_what_was_accepted_before_a_backup_under_load_is_handled_once_after_a_restore(
    installation: Installation,
    ledger: Ledger,
    start_counter: Callable[..., Process],
    other: Installation,
    tmp_path: Path,
) -> None:
    ids = installation.send(messages(240))
    assert all(len(each) == 36 for each in ids)
    workers = [start_counter(), start_counter()]
    load = threading.Thread(target=installation.send, args=(messages(240),))
    load.start()
    eventually(lambda: ledger.effects > 20, 30)
    backup = tmp_path / "backup"
    taken = installation.manage("bus_backup", str(backup))
    assert taken.returncode == 0, taken.stderr
    load.join()
    for worker in workers:
        worker.kill()
    manifest = json.loads((backup / "manifest.json").read_text())
    waiting = manifest["counts"]["broker ready"] + manifest["counts"].get("outbox pending", 0)
    assert waiting > 50, "no load: the backup was of a bus at rest"
    assert {path.name for path in backup.iterdir()} == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in backup.iterdir()} == {0o600}
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700

    said = restored(other, backup).stdout
    assert f"kept: {other.folder}/gateway.sqlite3.before-restore-" in said
    log = other.folder / "counter.log"
    other.start(
        "counter",
        "celery",
        "-A",
        "tests.support.effects",
        "worker",
        EFFECTS_SERVICE="counter",
    )
    database = other.database()

    def effects_of_known() -> dict[str, int]:
        rows = database.execute("SELECT message_id, count(*) FROM effect GROUP BY message_id")
        counted = dict(rows.fetchall())
        return {each: counted.get(each, 0) for each in ids}

    eventually(lambda: 0 not in effects_of_known().values(), 90, log.read_text()[-2000:])
    open_rows = "SELECT count(*) FROM messaging_outboxmessage WHERE due_at IS NOT NULL"
    eventually(lambda: database.execute(open_rows).fetchone()[0] == 0, 60)
    assert set(effects_of_known().values()) == {1}
    account = other.manage("bus_account", "--json")
    assert account.returncode == 0, account.stderr
    assert json.loads(account.stdout)["unaccounted"] == 0
    assert "the broker came back empty" in log.read_text()
    assert integrity(other.folder / "gateway.sqlite3") == "ok"
    assert integrity(other.folder / "broker.sqlite3") == "ok"


@pytest.fixture
def backup(installation: Installation, tmp_path: Path) -> Path:
    """A backup of an installation with a message that waits."""
    installation.send([{"target": "probe", "type": "work", "data": {}}])
    target = tmp_path / "backup"
    done = installation.manage("bus_backup", str(target))
    assert done.returncode == 0, done.stderr
    return target


def test_a_backup_is_never_written_over_another_one(
    installation: Installation, backup: Path
) -> None:
    before = (backup / "manifest.json").read_text()
    again = installation.manage("bus_backup", str(backup))
    assert again.returncode == 2
    assert "never written over another one" in again.stderr
    assert (backup / "manifest.json").read_text() == before
    assert not list(backup.parent.glob(".backup*"))


@pytest.mark.parametrize("who", ["a worker", "a program that has sent"])
def test_nothing_is_restored_under_a_process_that_runs(
    installation: Installation, backup: Path, who: str
) -> None:
    if who == "a worker":
        process = installation.start_worker("probe")
    else:
        process = installation.start("sender", "python", "-m", "tests.support.backup_holder")
        eventually(lambda: "sent" in process.log.read_text())
    refused = installation.manage("bus_restore", str(backup))
    assert refused.returncode == 1
    assert "stop everything first; nothing was changed" in refused.stderr
    assert not list(installation.folder.glob("*.before-restore-*"))
    process.stop()
    restored(installation, backup)


def test_what_was_there_is_kept_and_what_was_backed_up_is_back(
    installation: Installation, backup: Path
) -> None:
    installation.send([{"target": "probe", "type": "work", "data": {"later": 1}}])
    # Of a restore that was killed.
    (installation.folder / "broker.sqlite3.restoring").write_text("half of it")
    said = restored(installation, backup).stdout.splitlines()
    kept = [Path(line.removeprefix("kept: ")) for line in said if line.startswith("kept: ")]
    assert [path.name.split(".before")[0] for path in kept] == [
        "gateway.sqlite3",
        "broker.sqlite3",
    ]
    assert [integrity(path) for path in kept] == ["ok", "ok"]
    assert _waiting(kept[1]) == 2
    assert _waiting(installation.folder / "broker.sqlite3") == 1
    installation.start_worker("probe")
    eventually(lambda: len(installation.journal("probe").lines(event="handled")) == 1)


def _waiting(broker: Path) -> int:
    with sqlite3.connect(broker) as db:
        return int(db.execute("SELECT count(*) FROM ready").fetchone()[0])


def _change(backup: Path, **values: Any) -> None:
    path = backup / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _damage(backup: Path) -> None:
    path = backup / "broker.sqlite3"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_damage, "its checksum differs"),
        (lambda path: _change(path, broker_layout=schema.VERSION + 1), "knows up to"),
        (lambda path: _change(path, migrations={"messaging": ["0999_later"]}), "0999_later"),
        (lambda path: _change(path, format=2), "expected 1"),
        (lambda path: (path / "manifest.json").unlink(), "is no backup"),
    ],
)
def test_a_backup_that_cannot_be_trusted_changes_nothing(
    installation: Installation, backup: Path, spoil: Callable[[Path], None], text: str
) -> None:
    spoil(backup)
    refused = installation.manage("bus_restore", str(backup))
    assert refused.returncode == 2
    assert text in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not list(installation.folder.glob("*.before-restore-*"))
    assert not list(installation.folder.glob("*.restoring"))


def test_a_backup_from_before_a_migration_says_that_it_has_to_run(
    installation: Installation, backup: Path
) -> None:
    had = json.loads((backup / "manifest.json").read_text())["migrations"]
    _change(backup, migrations={**had, "admin": had["admin"][:-1]})
    assert "run manage.py migrate" in restored(installation, backup).stdout


@pytest.mark.parametrize("command", ["bus_backup", "bus_restore"])
def test_an_installation_on_servers_is_told_to_use_their_own_means(
    tmp_path: Path, migrated_database: Path, command: str
) -> None:
    servers = Installation(_of_amqp(), tmp_path, migrated_database)
    refused = servers.manage(command, str(tmp_path / "backup"))
    assert refused.returncode == 2
    assert "the broker of this installation is a server" in refused.stderr
    assert "pg_dump" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "backup").exists()


def _of_amqp() -> Features:
    """RabbitMQ's, which need not be there: nothing connects."""
    return BROKERS["amqp"]
