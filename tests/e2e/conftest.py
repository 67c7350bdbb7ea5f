"""Whole programs, started as a user starts them, on the embedded broker in their own folder."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway_app.preconditions import free_port
from tests.support.installation import ROOT
from tests.support.processes import BIN, Process


class Workplace:
    """A folder and what is started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.var_dir = folder / "var"
        self.gateway_port = free_port()
        self.flower_port = free_port()
        self.processes: list[Process] = []
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MESSAGING_", "DJANGO_", "CELERY_", "BROKER_", "DATABASE_"))
        }
        self.environment = {
            **inherited,
            "VAR_DIR": str(self.var_dir),
            "TMPDIR": str(folder),
            "GATEWAY_PORT": str(self.gateway_port),
            "FLOWER_PORT": str(self.flower_port),
            "PYTHONUNBUFFERED": "1",
        }

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,  # beside other tests everything takes its time
            check=False,
        )

    def start(self, name: str, *command: str) -> Process:
        """Start a program of the virtual environment from the root of the repository."""
        process = Process(
            str(BIN / command[0]), *command[1:], env=self.environment, log=self.folder / name
        )
        self.processes.append(process)
        return process

    def start_stack(self) -> Process:
        return self.start("stack.log", "python", str(ROOT / "manage.py"), "run_stack")

    def pids(self) -> list[int]:
        """Every process that works here, whoever started it."""
        mark = f"VAR_DIR={self.var_dir}".encode()
        sandbox = f"VAR_DIR={self.folder}/bus-".encode()  # of a play
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            environment = _read(process / "environ")
            if any(line == mark or line.startswith(sandbox) for line in environment.split(b"\0")):
                found.append(int(process.name))
        return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # ended meanwhile, or somebody else's
        return b""


@pytest.fixture(scope="module")
def new_workplace(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], Workplace]]:
    """Make workplaces; whatever was started in them is ended with the module."""
    made: list[Workplace] = []

    def make() -> Workplace:
        made.append(Workplace(tmp_path_factory.mktemp("work")))
        return made[-1]

    yield make
    for workplace in made:
        for process in workplace.processes:
            process.stop()


@pytest.fixture
def workplace(new_workplace: Callable[[], Workplace]) -> Workplace:
    """A workplace of its own."""
    return new_workplace()
