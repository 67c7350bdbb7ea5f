"""A new service in a copy of the repository: it runs, passes, answers, and is reloaded."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_app.preconditions import free_port
from tests.support.processes import BIN, ROOT, Process
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

COPIED = (
    "messaging",
    "gateway_app",
    "services",
    "tests",
    "manage.py",
    "Procfile",
    "pyproject.toml",
)
#: Of a service, whose name nobody will have given to one of the repository.
REQUEST = ("bus_request", "newcomer-service", "newcomer.hello", '{"name": "Ada"}')


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as it is, without what is made in it."""
    root = tmp_path_factory.mktemp("clone")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, root / name, ignore=ignored)
        else:
            shutil.copy(source, root)
    return root


def environment(root: Path) -> dict[str, str]:
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MESSAGING_", "DJANGO_", "CELERY_", "DATABASE_", "PYTEST_"))
    }
    return inherited | {"VAR_DIR": str(root / "var"), "C_FORCE_ROOT": "1", "PYTHONPATH": str(root)}


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=root, env=environment(root), capture_output=True, text=True, check=False
    )


def manage(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(root, sys.executable, "manage.py", *arguments)


def tree(root: Path) -> set[str]:
    paths = (path for path in root.rglob("*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(root)) for path in paths if "var" not in path.parts}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Newcomer", "expected small letters"),
        ("../x", "expected small letters"),
        ("x" * 21, "at most 20"),
        ("class", "is a keyword of Python"),
        ("json", "is a Python module already"),
        ("user", "exists already"),
    ],
)
def test_a_name_that_cannot_be_taken_is_one_line_and_nothing_is_written(
    clone: Path, name: str, reason: str
) -> None:
    before = tree(clone), (clone / "Procfile").read_text()
    refused = manage(clone, "startservice", name)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert reason in refused.stderr
    assert (tree(clone), (clone / "Procfile").read_text()) == before


@pytest.fixture(scope="module")
def newcomer(clone: Path) -> Path:
    """The copy, with a new service in it."""
    assert manage(clone, "startservice", "newcomer").returncode == 0
    return clone


def test_a_new_service_is_formatted_tested_and_answers(newcomer: Path) -> None:
    assert (
        "newcomer-service: celery -A services.newcomer worker\nflower"
        in (newcomer / "Procfile").read_text()
    )
    if (BIN / "ruff").exists():  # of requirements-check.txt
        for check in (("format", "--check"), ("check",)):
            done = run(newcomer, str(BIN / "ruff"), *check, "services", "tests/unit/services")
            assert done.returncode == 0, done.stdout
        layers = run(newcomer, str(BIN / "lint-imports"))
        assert layers.returncode == 0, layers.stdout
    test = "tests/unit/services/test_newcomer.py"
    passed = run(newcomer, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test)
    assert "4 passed" in passed.stdout, passed.stdout
    assert manage(newcomer, "migrate", "--verbosity=0").returncode == 0
    worker = Process(
        *("/bin/sh", "-c", 'cd "$0" && exec "$@"', str(newcomer)),
        *(sys.executable, "-m", "celery"),
        *("-A", "services.newcomer", "worker"),
        env=environment(newcomer),
        log=newcomer / "newcomer.log",
    )
    try:
        asked = eventually(lambda: answered(newcomer), 60, "the new service")
        assert json.loads(asked) == {"text": "Hello, Ada!"}
    finally:
        worker.stop()


def answered(root: Path) -> str:
    done = manage(root, *REQUEST)
    return done.stdout if done.returncode == 0 else ""


def test_a_changed_handler_answers_anew_and_a_syntax_error_waits_for_its_mending(
    newcomer: Path,
) -> None:
    procfile = (newcomer / "Procfile").read_text().splitlines(keepends=True)
    few = [line for line in procfile if line.startswith(("web:", "api-gateway:", "newcomer-"))]
    (newcomer / "Procfile").write_text("".join(few))
    handlers = newcomer / "services/newcomer/handlers.py"
    sound = handlers.read_text()
    log = newcomer / "stack.log"
    ports = {"GATEWAY_PORT": str(free_port()), "FLOWER_PORT": str(free_port())}
    stack = Process(
        *(sys.executable, str(newcomer / "manage.py"), "run_stack"),
        env={**environment(newcomer), **ports, "PYTHONUNBUFFERED": "1"},
        log=log,
    )

    def says(text: str) -> bool:
        assert stack.is_running(), log.read_text()
        return text in log.read_text()

    try:
        eventually(lambda: says("Everything runs"), 90, "the stack")
        handlers.write_text(sound.replace("Hello, {", "Good day, {"))
        eventually(lambda: "Good day, Ada!" in answered(newcomer), 90, "the new answer")
        assert says("services/newcomer/handlers.py changed: starting again newcomer-service\n")
        handlers.write_text("def (\n")
        eventually(lambda: says("newcomer-service ended with exit code"), 90, "the error")
        assert says("SyntaxError")
        handlers.write_text(sound.replace("Hello, {", "Welcome, {"))
        eventually(lambda: "Welcome, Ada!" in answered(newcomer), 90, "the mended answer")
    finally:
        code = stack.stop()
        handlers.write_text(sound)
        (newcomer / "Procfile").write_text("".join(procfile))
    assert code == 0
