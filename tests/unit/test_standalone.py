"""`messaging.standalone`: what it makes, and what it refuses, each in a program of its own."""

import os
import sqlite3
import stat
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from messaging import ConfigurationError, standalone
from tests.support.forked import run
from tests.support.processes import ROOT, Process
from tests.support.waiting import eventually


def program(folder: Path, text: str) -> CompletedProcess[str]:
    """Run a program without Django's settings; ``url`` is the broker in the folder."""
    file = folder / "program.py"
    file.write_text(
        "import messaging\n"
        f"url = 'sqlite:///{folder}/broker.sqlite3'\n"
        "def refused(*args, **kwargs):\n"
        "    try:\n"
        "        messaging.standalone(*args, **kwargs)\n"
        "    except messaging.ConfigurationError as exc:\n"
        "        print(exc)\n" + text
    )
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return run("python", str(file), env={**kept, "PYTHONPATH": str(ROOT)}, folder=folder)


def test_a_django_project_is_told_to_use_a_communicator() -> None:
    with pytest.raises(ConfigurationError, match="use ServiceCommunicator"):
        standalone("script", broker_url="sqlite:////nowhere/broker.sqlite3")


def test_what_it_sends_is_kept_in_a_file_of_its_own_and_relayed_by_the_next_block(
    tmp_path: Path,
) -> None:
    done = program(
        tmp_path,
        "bus = messaging.standalone('script', broker_url=url)\n"
        "bus.send_to_service('other', 'note', 1, delay=0.01)\n"
        "from messaging.models import OutboxMessage\n"
        "print(OutboxMessage.objects.count())\n"
        "with messaging.standalone('script', broker_url=url):\n"
        "    from tests.support.waiting import eventually\n"
        "    eventually(lambda: not OutboxMessage.objects.exclude(due_at=None).exists(), 30)\n"
        "with bus.bus.connection() as connection:\n"
        "    print(connection.default_channel.queue_declare('other', passive=True))\n",
    )
    assert done.returncode == 0, done.stderr
    first, queue = done.stdout.splitlines()
    assert first == "1"
    assert "message_count=1" in queue
    assert stat.S_IMODE((tmp_path / "script.sqlite3").stat().st_mode) == 0o600


@pytest.mark.slow
def test_a_program_without_django_has_a_worker_and_is_asked_by_another(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/broker.sqlite3"
    (tmp_path / "sums.py").write_text(
        "import messaging\n"
        f"bus = messaging.standalone('sums', broker_url='{url}')\n"
        "@bus.on_message('add')\n"
        "def add(data): return sum(data)\n"
        "app = bus.celery_app\n"
    )
    worker = Process(
        *("/bin/sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path)),
        *(sys.executable, "-m", "celery", "-A", "sums", "worker"),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "C_FORCE_ROOT": "1"},
        log=tmp_path / "sums.log",
    )
    ask = "with messaging.standalone('script', broker_url=url) as bus:\n"
    ask += "    print(bus.request('sums', 'add', [1, 2], timeout=5))\n"
    try:
        eventually(lambda: program(tmp_path, ask).stdout == "3\n", 60, "the answer")
    finally:
        assert worker.stop() == 0


def test_tables_of_somebody_else_are_left_alone_until_they_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "shop.sqlite3"
    shop = sqlite3.connect(file)
    shop.execute("CREATE TABLE orders (id INTEGER)")
    shop.close()
    done = program(
        tmp_path,
        f"known = {{'broker_url': url, 'database_url': 'sqlite:///{file}'}}\n"
        "refused('script', **known)\n"
        "messaging.standalone('script', migrate=True, **known)\n"
        "refused('script', **known | {'namespace': 'other'})\n",
    )
    assert done.returncode == 0, done.stderr
    lacks, other = done.stdout.splitlines()
    assert "lacks tables" in lacks
    assert "migrate=True" in lacks
    assert "settings of the first call in this process" in other


def test_a_database_that_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    done = program(
        tmp_path,
        "refused('script', broker_url='redis://127.0.0.1/0')\n"
        "refused('script', broker_url=url, database_url='nonsense')\n"
        "refused('script', broker_url=url, database_url='sqlite:////nowhere/a.sqlite3')\n",
    )
    assert done.returncode == 0, done.stderr
    missing, wrong, nowhere = done.stdout.splitlines()
    assert "expected database_url, got nothing" in missing
    assert "database_url: expected a URL" in wrong
    assert "/nowhere/a.sqlite3 cannot be made" in nowhere
