"""The command, in installations of their own."""

import json
import subprocess

import pytest

from gateway_app import traps
from gateway_app.preconditions import free_port
from messaging.checks import OPEN_BROKER
from tests.support.forked import run
from tests.support.http_stack import HttpStack
from tests.support.installation import Installation
from tests.support.waiting import eventually

#: Of production, with nothing wrong.
PRODUCTION = {
    "DJANGO_DEBUG": "0",
    "DJANGO_SECRET_KEY": "a long text that nobody knows",
    "DJANGO_ALLOWED_HOSTS": "bus.example.org",
    "FLOWER_BASIC_AUTH": "anna:long",
    "MESSAGING_HTTP_CONCURRENCY": "10",
}
KEYS = f"k:{'s' * 40}"

#: The servers that tests have let anybody in, and Redis need not keep anything: told as it is.
OF_THE_SERVERS = {OPEN_BROKER.id, traps.REDIS_FORGETS.id}


def doctor(
    installation: Installation, *arguments: str, **env: str
) -> "subprocess.CompletedProcess[str]":
    ports = {"GATEWAY_PORT": str(free_port()), "FLOWER_PORT": str(free_port())}
    command = ("python", "manage.py", "bus_doctor", *arguments)
    installation.settings.setdefault("signing_keys", KEYS)
    environment = installation.environment(**{**ports, **PRODUCTION, **env})
    return run(*command, env=environment, folder=installation.folder)


@pytest.mark.slow
def test_a_sound_installation_has_no_finding(installation: Installation) -> None:
    # Longer than handlers may take, as in life; the tests' own are of three seconds.
    installation.settings |= {"redis_visibility_timeout_seconds": 600, "signing_keys": KEYS}
    with HttpStack(installation) as stack:
        stack.start()
        eventually(lambda: not trapped(installation, stack), 30, "all is well")
        done = doctor(installation, GATEWAY_PORT=str(stack.port))
        strict = doctor(installation, "--fail-on-warning", GATEWAY_PORT=str(stack.port))
    assert (done.returncode, done.stderr) == (0, "")
    assert "the most urgent first" in done.stdout
    assert "api-gateway answers" in done.stdout
    assert "1 instance: as the gateway's" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("fine")
    assert strict.returncode == (0 if installation.features.name == "sqlite" else 1)


def trapped(installation: Installation, stack: HttpStack) -> set[str]:
    done = doctor(installation, "--json", GATEWAY_PORT=str(stack.port))
    found = {each["id"] for each in json.loads(done.stdout) if each["grade"] != "fine"}
    return found - OF_THE_SERVERS


@pytest.mark.embedded_only
def test_nothing_but_json_is_on_stdout_and_one_line_says_that_something_is_broken(
    installation: Installation,
) -> None:
    done = doctor(installation, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    (broken,) = [each for each in found if each["grade"] == "broken"]
    assert broken == {
        "layer": "registry",
        "check": "Gateway worker",
        "grade": "broken",
        "id": traps.NO_GATEWAY_WORKER.id,
        "text": "none was heard of within 30 s",
        "fix": traps.NO_GATEWAY_WORKER.fix,
    }
    assert {each["id"] for each in found if each["id"]} == {
        traps.NO_GATEWAY_WORKER.id,
        traps.NO_GATEWAY.id,
    }
    assert [each["layer"] for each in found if each["grade"] == "not looked at"] == ["bus"]


@pytest.mark.embedded_only
def test_a_person_reads_what_is_wrong_and_how_to_mend_it_on_80_columns(
    installation: Installation,
) -> None:
    done = doctor(installation, COLUMNS="80")
    lines = done.stdout.splitlines()
    # A path that is longer than a line stays whole, to be copied.
    assert all(len(line) <= 80 or "/" in line.split()[-1] for line in lines)
    text = " ".join(done.stdout.split())
    assert "✗ Gateway worker none was heard of within 30 s → Start celery -A gateway_app" in text
    assert "· Bus not looked at: needs the registry" in text


@pytest.mark.embedded_only
def test_a_database_that_is_away_is_one_finding_and_not_one_for_each_layer(
    installation: Installation,
) -> None:
    done = doctor(installation, "--json", DATABASE_URL="sqlite:////proc/none/gateway.sqlite3")
    found = json.loads(done.stdout)
    assert [each["id"] for each in found if each["grade"] == "broken"] == [traps.NO_DATABASE.id]
    assert [each["layer"] for each in found if each["grade"] == "not looked at"] == [
        *("registry", "queues", "bus", "relay", "tokens")
    ]
    assert "Traceback" not in done.stderr


@pytest.mark.embedded_only
def test_a_database_without_tables_is_found(installation: Installation) -> None:
    (installation.folder / "gateway.sqlite3").unlink()
    found = json.loads(doctor(installation, "--json").stdout)
    assert traps.MIGRATIONS.id in {each["id"] for each in found}


@pytest.mark.embedded_only
def test_wrong_input_is_one_line_and_exit_code_2(installation: Installation) -> None:
    done = doctor(installation, "--colour")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.embedded_only
def test_check_deploy_says_nothing_of_ours_where_production_is_set_up_right(
    installation: Installation,
) -> None:
    installation.settings["signing_keys"] = KEYS
    command = ("python", "manage.py", "check", "--deploy", "--tag", "gateway", "--tag")
    folder = installation.folder
    sound = run(*command, "messaging", env=installation.environment(**PRODUCTION), folder=folder)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "no issues" in sound.stdout
    wrong = installation.environment(
        **{**PRODUCTION, "DJANGO_SECRET_KEY": "insecure-development-key", "BROKER_URI": "x"}
    )
    told = run(*command, "messaging", env=wrong, folder=folder)
    assert told.returncode == 1
    assert "gateway_app.E001" in told.stderr
    assert "did you mean BROKER_URL?" in told.stderr


@pytest.mark.slow
@pytest.mark.embedded_only
def test_workers_tell_of_their_database_and_two_of_one_service_are_found(
    installation: Installation,
) -> None:
    with HttpStack(installation) as stack:
        stack.start()
        other = installation.folder / "other.sqlite3"
        url = f"sqlite:///{other}"
        command = ("python", "manage.py", "migrate", "--verbosity=0")
        folder = installation.folder
        run(
            *command, env=installation.environment(DATABASE_URL=url), folder=folder
        ).check_returncode()
        installation.start_worker("probe")
        installation.start_worker("probe", DATABASE_URL=url)

        def is_found() -> bool:
            done = doctor(installation, "--json", GATEWAY_PORT=str(stack.port))
            return traps.SEVERAL_DATABASES.id in {each["id"] for each in json.loads(done.stdout)}

        eventually(is_found, 40, "two databases")


@pytest.mark.slow
@pytest.mark.embedded_only
def test_a_flower_that_asks_for_no_password_is_found(installation: Installation) -> None:
    port = str(free_port())
    arguments = ("celery", "-A", "gateway_app", "flower", "--address=127.0.0.1", f"--port={port}")
    installation.start("flower", *arguments, FLOWER_UNAUTHENTICATED_API="1")

    def found() -> dict[str, str]:
        done = doctor(installation, "--json", FLOWER_PORT=port)
        return {each["check"]: each["id"] for each in json.loads(done.stdout)}

    assert eventually(lambda: found().get("Flower"), 30) == traps.FLOWER_OPEN.id
