"""The units of docs/deploy/systemd, as systemd itself reads them."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from messaging.config import MessagingConfig
from messaging.probe import LIVE_SECONDS
from tests.support.processes import ROOT

FOLDER = ROOT / "docs/deploy/systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
WORKERS = [path for path in SERVICES if " worker" in path.read_text()]
#: The worst that `systemd-analyze security` may find, of 10.
MOST_EXPOSED = 2.0


def section(path: Path, name: str = "Service") -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(path)
    return parser[name]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with the paths of this working copy, the template as one instance."""
    for path in FOLDER.iterdir():
        text = path.read_text().replace("/opt/bus", str(ROOT))
        (tmp_path / path.name.replace("@.", "@user.")).write_text(text)
    return tmp_path


def systemd_analyze(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing")
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_any_unit(installed: Path) -> None:
    units = sorted(path.name for path in installed.iterdir())
    done = systemd_analyze("verify", "--man=no", *units, folder=installed)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_systemd_finds_little_that_a_unit_is_exposed_to(path: Path, installed: Path) -> None:
    name = path.name.replace("@.", "@user.")
    threshold = str(int(MOST_EXPOSED * 10))
    offline = ("security", "--offline=true", f"--threshold={threshold}")
    done = systemd_analyze(*offline, name, folder=installed)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_leaves_its_handlers_the_time_they_may_take(path: Path) -> None:
    unit = section(path)
    assert (unit["KillMode"], unit["KillSignal"], unit["Restart"]) == (
        "mixed",
        "SIGTERM",
        "always",
    )
    handler_seconds = MessagingConfig(broker_url="sqlite:///x").handler_timeout_seconds
    if path in WORKERS:
        assert int(unit["TimeoutStopSec"]) > handler_seconds


@pytest.mark.parametrize("path", WORKERS, ids=lambda path: path.name)
def test_a_worker_that_is_stopped_is_killed_by_its_watchdog(path: Path) -> None:
    unit = section(path)
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "main")
    # Not before a probe would say so; by a signal that a stopped process cannot keep waiting.
    assert int(unit["WatchdogSec"]) >= LIVE_SECONDS
    assert unit["WatchdogSignal"] == "SIGKILL"


def test_there_is_a_unit_for_each_process_that_make_run_starts() -> None:
    commands = {section(path)["ExecStart"].split("/")[-1] for path in SERVICES}
    programs = {line.split(": ", 1)[1] for line in (ROOT / "Procfile").read_text().splitlines()}
    for program in programs:
        start = " ".join(program.split()[:4]).partition(" --")[0]
        start = re.sub(r"\bservices\.\w+", "services.%i", start)
        assert any(command.startswith(start) for command in commands), program
