"""Container files: what they name exists, and what they promise holds. None is run here."""

import importlib.util
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gateway_app.preconditions import free_port
from messaging.config import MessagingConfig
from tests.support.processes import BIN, ROOT, Process
from tests.support.waiting import eventually

FOLDER = ROOT / "docs/deploy"
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(
    yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
)
DEPLOYMENTS = {
    each["metadata"]["name"]: each["spec"]["template"]["spec"]
    for each in KUBERNETES
    if each["kind"] == "Deployment"
}


def instructions() -> list[tuple[str, str]]:
    """Return the lines of the Containerfile as instruction and rest, continued ones joined."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.M).replace("\\\n", "")
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
        for line in filter(None, text.splitlines())
    ]


def commands() -> Iterator[list[str]]:
    """Give every command that a container is started or probed with."""
    for name, service in COMPOSE["services"].items():
        if name in ("rabbitmq", "postgres"):
            continue
        if "command" in service:
            yield service["command"]
        if "test" in service.get("healthcheck", {}):
            yield service["healthcheck"]["test"][1:]
    for document in KUBERNETES:
        template = document.get("spec", {}).get("template")
        for container in template["spec"]["containers"] if template else ():
            yield container["command"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if "exec" in container.get(probe, {}):
                    yield container[probe]["exec"]["command"]


def ignored() -> tuple[str, list[str]]:
    """Return the first pattern of .dockerignore, and what is let through after it."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    return patterns[0], [line[1:] for line in patterns if line.startswith("!")]


def test_what_is_copied_into_the_image_exists_and_nothing_else_reaches_it() -> None:
    copied = [
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert all((ROOT / source).exists() for source in copied)
    assert ignored() == ("*", copied)


def test_the_image_runs_as_a_user_that_is_not_root_from_a_base_of_one_version() -> None:
    users = [rest for name, rest in instructions() if name == "USER"]
    assert users == ["10001:10001"]
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-bookworm", bases[0])
    assert [name for name, _ in instructions()][-1] == "CMD"


def test_no_secret_is_in_the_image_or_beside_it() -> None:
    texts = [
        CONTAINERFILE,
        *((FOLDER / f"{name}.yaml").read_text() for name in ("compose", "kubernetes")),
    ]
    for text in texts:
        assert not re.search(r"(SECRET_KEY|PASSWORD|PASS|BASIC_AUTH)(=|: )[^$ {\n]", text)
    example = (FOLDER / "production.env").read_text()
    assert "DJANGO_SECRET_KEY=\n" in example
    assert "FLOWER_BASIC_AUTH=\n" in example


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_a_command_names_a_program_and_a_module_that_exist(command: list[str]) -> None:
    program, *arguments = command
    assert (BIN / program).exists()
    if program == "celery":
        assert importlib.util.find_spec(f"{arguments[1]}.celery")
    elif program == "uvicorn":
        assert importlib.util.find_spec(arguments[0].partition(":")[0])
    elif arguments[0] == "manage.py":
        assert (ROOT / "manage.py").exists()
    elif "messaging/probe.py" in arguments:
        assert arguments[arguments.index("messaging/probe.py") + 1] in ("live", "ready")


def test_what_runs_needs_nothing_of_what_tests_it() -> None:
    """The image has the packages before the first empty line of requirements.txt alone."""
    runs, _, tests = (ROOT / "requirements.txt").read_text().partition("\n\n")
    assert "django==" in runs
    only_tests = {
        re.split(r"[=\[]", line)[0].replace("-", "_") for line in tests.splitlines() if line
    }
    assert "pytest" in only_tests
    code = (
        "import django; django.setup(); import gateway_app.asgi, gateway_app.celery, sys\n"
        "import services.user.celery, services.document.celery, services.scraper.celery\n"
        "import celery.bin.celery, messaging.worker.program, django.urls\n"
        "django.urls.get_resolver().url_patterns\n"
        f"bad = {only_tests!r} & set(sys.modules); sys.exit(repr(bad) if bad else 0)"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "gateway_app.settings", "PATH": "/usr/bin"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def test_containers_are_stopped_later_than_their_handlers_end() -> None:
    handler_seconds = MessagingConfig(broker_url="sqlite:///x").handler_timeout_seconds
    for name, service in COMPOSE["services"].items():
        if "worker" in service.get("command", ()):
            assert float(service["stop_grace_period"].removesuffix("s")) > handler_seconds, name
    for name, spec in DEPLOYMENTS.items():
        if "worker" in spec["containers"][0]["command"]:
            assert spec["terminationGracePeriodSeconds"] > handler_seconds, name


def test_compose_starts_the_gateway_as_make_run_does_and_services_of_the_procfile() -> None:
    """Services that are added to the Procfile may be deployed by other means."""
    started = {" ".join(each.get("command", ())) for each in COMPOSE["services"].values()}
    commands = [
        line.split(": ", 1)[1].partition(" --")[0]
        for line in (ROOT / "Procfile").read_text().splitlines()
    ]
    for command in commands:
        if command.startswith("celery -A gateway_app"):
            assert any(each.startswith(command) for each in started), command
    for each in started:
        if each.startswith("celery -A services"):
            assert any(each.startswith(command) for command in commands), each


def test_every_pod_is_confined_and_every_one_that_serves_is_probed_and_has_a_budget() -> None:
    budgets = {
        each["spec"]["selector"]["matchLabels"]["app"]
        for each in KUBERNETES
        if each["kind"] == "PodDisruptionBudget"
    }
    for name, spec in DEPLOYMENTS.items():
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        if name != "beat":
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
            assert name in budgets
    (web,) = DEPLOYMENTS["gateway"]["containers"]
    assert web["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]


@pytest.mark.parametrize("probe", ["livenessProbe", "readinessProbe"])
def test_a_worker_is_probed_about_its_own_service(probe: str) -> None:
    for spec in DEPLOYMENTS.values():
        (container,) = spec["containers"]
        if "worker" not in container["command"]:
            continue
        module = importlib.import_module(f"{container['command'][2]}.celery")
        assert container[probe]["exec"]["command"][-1] == module.app.communicator.name


def test_the_folder_of_pulses_is_the_containers_own() -> None:
    """Pids of another container mean nothing."""
    folder = "/run/bus"
    assert f"MESSAGING_PULSE_FOLDER={folder}/pulse" in CONTAINERFILE
    for service in COMPOSE["services"].values():
        assert not any(folder in volume for volume in service.get("volumes", ()))
    for spec in DEPLOYMENTS.values():
        volumes = {each["name"]: each for each in spec["volumes"]}
        mounts = {
            each["mountPath"]: each["name"] for each in spec["containers"][0]["volumeMounts"]
        }
        assert "emptyDir" in volumes[mounts[folder]]
    assert Path(folder).is_absolute()


@pytest.mark.long
def test_the_files_of_the_image_are_enough_for_a_worker_its_probe_and_the_web_process(
    tmp_path: Path,
) -> None:
    """In a folder with what is copied into the image and nothing else; without a container."""
    image = tmp_path / "image"
    image.mkdir()
    for source in ignored()[1]:
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, image / source)
    pulse = tmp_path / "run/pulse"
    port = str(free_port())
    environment = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "DJANGO_DEBUG": "0",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "VAR_DIR": str(tmp_path / "var"),
        "MESSAGING_PULSE_FOLDER": str(pulse),
        "C_FORCE_ROOT": "1",
    }

    def start(name: str, command: list[str]) -> Process:
        return Process("env", "-C", str(image), *command, env=environment, log=tmp_path / name)

    processes = [start("migrate", COMPOSE["services"]["migrate"]["command"])]
    try:
        assert processes[0].wait(60) == 0, processes[0].log.read_text()
        worker = COMPOSE["services"]["user-service"]
        processes.append(start("worker", worker["command"]))
        asked = [
            str(pulse) if word == "/run/bus/pulse" else word
            for word in worker["healthcheck"]["test"][1:]
        ]
        assert str(pulse) in asked
        ready = ["ready" if word == "live" else word for word in asked]
        for probe in (asked, ready):
            eventually(lambda probe=probe: start("probe", probe).wait() == 0, 30)
        web = DEPLOYMENTS["gateway"]["containers"][0]["command"]
        processes.append(start("web", [port if word == "8000" else word for word in web]))

        def status(path: str) -> int | None:
            headers = {"Host": "localhost"}
            try:
                url = f"http://127.0.0.1:{port}{path}"
                return httpx.get(url, headers=headers, trust_env=False).status_code
            except httpx.TransportError:
                return None

        eventually(lambda: status("/health") == 200, 30)
        assert status("/ready") == 200
        assert status("/admin/login/") == 301
        assert processes[1].stop() == 0
        assert processes[2].stop() in (0, -signal.SIGTERM)
    finally:
        for process in processes:
            process.kill()
