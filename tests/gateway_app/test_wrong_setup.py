"""Whoever sets this up wrong reads one line that says what to mend, whatever they started."""

import os
from pathlib import Path

import pytest

from gateway_app.preconditions import free_port
from tests.support.brokers import BROKERS, require
from tests.support.forked import run
from tests.support.processes import ROOT

MANAGE = ("python", "manage.py", "bus_services")
MIGRATE = ("python", "manage.py", "migrate")
RUN_STACK = ("python", "manage.py", "run_stack")
WORKER = ("celery", "-A", "services.user", "worker")
RELAY = ("python", "manage.py", "bus_relay")
BEAT = ("celery", "-A", "gateway_app", "beat")
WEB = ("uvicorn", "gateway_app.asgi:application", "--port", "0")
PROGRAMS = (MANAGE, MIGRATE, RUN_STACK, WORKER, BEAT, WEB)

WRONG = {
    "BROKER_URL": "foo",
    "DATABASE_URL": "nonsense",
    "MESSAGING_WORKER_CONCURRENCY": "many",
    "GATEWAY_PORT": "abc",
    "VAR_DIR": "/proc/none",
    # Everywhere: whoever forgot it must not find out by the one process that looks.
    "DJANGO_SECRET_KEY": "",
}

#: Free, so that nothing else is wrong.
PORTS = {"GATEWAY_PORT": str(free_port()), "FLOWER_PORT": str(free_port())}


def environment(folder: Path, **wrong: str) -> dict[str, str]:
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MESSAGING_", "DJANGO_", "CELERY_", "DATABASE_URL"))
    }
    return {
        **inherited,
        "VAR_DIR": str(folder),
        "PYTHONPATH": str(ROOT),
        "C_FORCE_ROOT": "1",
    } | wrong


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_a_wrong_setting_ends_a_program_in_one_line(
    program: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    wrong = {name: WRONG[name]} | ({"DJANGO_DEBUG": "0"} if "SECRET" in name else {})
    done = run(*program, env=environment(tmp_path, **wrong), folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    named = "MESSAGING['worker_concurrency']" if "CONCURRENCY" in name else name
    assert done.stderr.startswith(f"Set up wrong: {named}: ")


def test_a_broker_file_with_a_relative_path_is_refused_and_not_made(tmp_path: Path) -> None:
    """Two processes started in two folders were on two brokers, each with its own messages."""
    env = environment(tmp_path, BROKER_URL="sqlite:///relative.sqlite3")
    done = run(*MANAGE, env=env, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("Set up wrong: BROKER_URL: expected an absolute path")
    assert "four slashes" in done.stderr
    assert not (ROOT / "relative.sqlite3").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("DJANGO_DEBUG", "maybe"), ("DJANGO_TLS", "ture"), ("DJANGO_HSTS_SECONDS", "30d")],
)
def test_what_is_neither_yes_nor_no_nor_a_number_is_not_guessed(
    name: str, value: str, tmp_path: Path
) -> None:
    done = run(*MANAGE, env=environment(tmp_path, **{name: value}), folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"Set up wrong: {name}: ")
    assert repr(value) in done.stderr


def test_a_setting_that_is_misspelled_is_told_with_the_right_name(tmp_path: Path) -> None:
    env = environment(tmp_path, MESSAGING_WORKER_CONCURENCY="4")
    done = run(*MANAGE, env=env, folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean 'worker_concurrency'?" in done.stderr


@pytest.mark.parametrize("name", ["GATEWAY_PORT", "FLOWER_PORT"])
@pytest.mark.parametrize("value", ["0", "65536", "-1", "", "8000.5", "٣"])
def test_a_port_is_a_number_that_tcp_knows(name: str, value: str, tmp_path: Path) -> None:
    done = run(*MANAGE, env=environment(tmp_path, **{name: value}), folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert repr(value) in done.stderr


def test_a_password_in_a_malformed_url_is_not_shown(tmp_path: Path) -> None:
    url = "postgres://anna:very-secret@host:port/name"
    done = run(*MANAGE, env=environment(tmp_path, DATABASE_URL=url), folder=tmp_path)
    assert done.returncode == 2
    assert "very-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "program",
    [WORKER, BEAT, WEB, RUN_STACK, RELAY],
    ids=" ".join,
)
def test_a_wrong_password_of_rabbitmq_ends_a_program_in_one_line(
    program: tuple[str, ...], tmp_path: Path
) -> None:
    require(BROKERS["amqp"])
    address = BROKERS["amqp"].url.partition("@")[2]
    env = environment(tmp_path, BROKER_URL=f"amqp://guest:very-wrong@{address}")
    done = run(*program, env=env | PORTS, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "refuses the login: put the right user and password into BROKER_URL" in done.stderr
    assert "very-wrong" not in done.stdout + done.stderr


def test_a_request_says_that_the_broker_refuses_the_login(tmp_path: Path) -> None:
    require(BROKERS["amqp"])
    address = BROKERS["amqp"].url.partition("@")[2]
    env = environment(tmp_path, BROKER_URL=f"amqp://guest:very-wrong@{address}")
    done = run("python", "manage.py", "bus_request", "x", "y", env=env, folder=tmp_path)
    assert done.returncode == 2
    assert "refuses the login" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", [WORKER, RUN_STACK], ids=" ".join)
def test_a_broker_file_that_cannot_be_ends_a_program_in_one_line(
    program: tuple[str, ...], tmp_path: Path
) -> None:
    env = environment(tmp_path, BROKER_URL="sqlite:////proc/none/broker.sqlite3")
    done = run(*program, env=env | PORTS, folder=tmp_path)
    assert done.returncode
    assert done.stderr.count("\n") == 1
    assert "/proc/none" in done.stderr


def test_a_database_without_tables_is_one_line(tmp_path: Path) -> None:
    done = run(*MANAGE, env=environment(tmp_path), folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no such table" in done.stderr
    assert "bus_doctor" in done.stderr


def test_whoever_wants_the_traceback_gets_it(tmp_path: Path) -> None:
    done = run(*MANAGE, "--traceback", env=environment(tmp_path), folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
