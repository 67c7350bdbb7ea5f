"""What a probe answers for workers that are stopped, wedged, without a broker, or ending."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from messaging.probe import LIVE_SECONDS, Pulse, path_of, start_of
from tests.support.installation import ROOT, Installation
from tests.support.outage import Outage, proxied
from tests.support.processes import Process
from tests.support.waiting import eventually

#: What was written last is at most two seconds old when the worker is stopped.
SEEN_SECONDS = LIVE_SECONDS + 10.0


def probe(
    question: str, folder: Path, service: str = "probe"
) -> "subprocess.CompletedProcess[str]":
    """Run the probe as Kubernetes does: a program of its own, with nothing in its environment."""
    command = (sys.executable, "-I", "-S", str(ROOT / "messaging/probe.py"), question)
    return subprocess.run(
        [*command, str(folder), service], env={}, capture_output=True, text=True, check=False
    )


def says(question: str, installation: Installation, service: str = "probe") -> str:
    """Return the reason of a no; empty for a yes."""
    answer = probe(question, installation.folder / "pulse", service)
    assert answer.returncode == (1 if answer.stderr else 0)
    return answer.stderr


@pytest.mark.slow
@pytest.mark.embedded_only
def test_a_stopped_and_a_wedged_worker_fail_liveness_beside_one_that_is_well(
    installation: Installation,
) -> None:
    stopped = installation.start_worker("stopped")
    installation.start_worker("wedged")
    installation.start_worker("well")
    for service in ("stopped", "wedged", "well"):
        eventually(lambda name=service: not says("ready", installation, name))
        assert says("live", installation, service) == ""
    stopped.signal(signal.SIGSTOP)
    installation.send([{"target": "wedged", "type": "wedge", "data": {}}])
    # The wedged one's thread sees it after half the time, and writes no more.
    eventually(lambda: "no pulse for" in says("live", installation, "stopped"), SEEN_SECONDS)
    eventually(lambda: "no pulse for" in says("live", installation, "wedged"), SEEN_SECONDS)
    assert says("live", installation, "well") == says("ready", installation, "well") == ""
    stopped.signal(signal.SIGCONT)
    eventually(lambda: not says("ready", installation, "stopped"))


@pytest.mark.slow
def test_a_worker_without_its_broker_lives_and_is_not_ready_until_it_is_back(
    installation: Installation,
) -> None:
    if installation.features.name == "sqlite":
        # A folder of its own, which can be taken away.
        installation.url = f"sqlite:///{installation.folder}/broker/broker.sqlite3"
    with proxied(installation) as proxy:
        worker = installation.start_worker("probe")
        eventually(lambda: not says("ready", installation))
        outage = Outage(installation, proxy)
        outage.begin()
        eventually(lambda: "is connecting" in says("ready", installation))
        assert says("live", installation) == ""
        outage.end()
        eventually(lambda: not says("ready", installation), 40)
        assert worker.is_running()


@pytest.mark.slow
@pytest.mark.embedded_only
def test_a_worker_that_starts_before_its_broker_lives_and_is_not_ready(
    installation: Installation,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    installation.url = f"amqp://guest:guest@127.0.0.1:{port}//"
    installation.start_worker("probe", wait=False)
    eventually(lambda: not says("live", installation), 30)
    assert "is connecting" in says("ready", installation)


@pytest.mark.slow
@pytest.mark.embedded_only
def test_a_paused_worker_is_ready(installation: Installation) -> None:
    """Else a rollout would wait for ever for one that takes no messages because that is wanted."""
    installation.database().execute(
        "INSERT INTO messaging_pausedservice (service, at, reason)"
        " VALUES ('probe', '2026-01-01', '')"
    )
    worker = installation.start_worker("probe")
    assert "is paused" in worker.log.read_text()
    eventually(lambda: not says("ready", installation))


@pytest.mark.slow
@pytest.mark.embedded_only
def test_a_worker_that_finishes_its_work_lives_to_its_end_and_leaves_nothing(
    installation: Installation,
) -> None:
    worker = installation.start_worker("probe")
    eventually(lambda: not says("ready", installation))
    installation.send([{"target": "probe", "type": "work", "data": {"seconds": 3}}])
    eventually(lambda: installation.journal("probe").lines(event="begun"))
    worker.signal(signal.SIGTERM)
    eventually(lambda: "is stopping" in says("ready", installation))
    assert says("live", installation) == ""
    assert worker.wait() == 0
    assert list((installation.folder / "pulse").iterdir()) == []


@pytest.mark.slow
@pytest.mark.embedded_only
def test_what_a_killed_worker_left_says_nothing_and_goes_with_the_next_start(
    installation: Installation,
) -> None:
    killed = installation.start_worker("probe")
    killed.kill()
    folder = installation.folder / "pulse"
    assert written_in(folder) == {f"probe.{killed.pid}"}
    assert says("live", installation) == "probe: no worker of probe runs here\n"
    following = installation.start_worker("probe")
    assert written_in(folder) == {f"probe.{following.pid}"}


def written_in(folder: Path) -> set[str]:
    """Return the pulses in a folder; one may be half written beside, as its worker was killed."""
    return {path.name.removesuffix(".new") for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.embedded_only
def test_a_worker_does_not_run_where_nobody_could_see_that_it_lives(
    installation: Installation,
) -> None:
    in_the_way = installation.folder / "pulse"
    in_the_way.write_text("no folder")
    worker = installation.start_worker("probe", wait=False)
    assert worker.wait() != 0
    assert f"MESSAGING['pulse_folder'] is '{in_the_way}'" in worker.log.read_text()


@pytest.mark.slow
@pytest.mark.embedded_only
def test_systemd_is_told_of_start_pulse_and_end(installation: Installation) -> None:
    address = str(installation.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(30)
        worker = installation.start_worker("probe", NOTIFY_SOCKET=address)
        assert systemd.recv(1000) == b"READY=1"
        heard = _until(b"WATCHDOG=1\nSTATUS=consuming", systemd)
        worker.signal(signal.SIGTERM)
        heard += _until(b"STOPPING=1", systemd)
        assert worker.wait() == 0
    assert set(heard) <= {b"WATCHDOG=1\nSTATUS=connecting", b"WATCHDOG=1\nSTATUS=consuming"}


def _until(wanted: bytes, systemd: socket.socket) -> list[bytes]:
    heard = []
    while (said := systemd.recv(1000)) != wanted:
        heard.append(said)
    return heard


@pytest.fixture
def sleeper(tmp_path: Path):
    process = Process("sleep", "600", env={**os.environ}, log=tmp_path / "log")
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def test_an_old_pulse_of_a_process_that_exists_is_a_no(tmp_path: Path, sleeper: Process) -> None:
    pulse = Pulse(sleeper.pid, start_of(sleeper.pid), 0.0, "consuming")
    Path(path_of(str(tmp_path), "probe", sleeper.pid)).write_text(pulse.to_line())
    assert "no pulse for" in probe("live", tmp_path).stderr


def test_a_pid_that_is_anothers_by_now_is_no_worker(tmp_path: Path, sleeper: Process) -> None:
    pulse = Pulse(sleeper.pid, "1", 0.0, "consuming")
    Path(path_of(str(tmp_path), "probe", sleeper.pid)).write_text(pulse.to_line())
    assert "no worker of probe runs here" in probe("live", tmp_path).stderr


def test_wrong_arguments_are_told_from_a_no(tmp_path: Path) -> None:
    answer = probe("alive", tmp_path)
    assert (answer.returncode, answer.stderr) == (2, "probe: expected live|ready FOLDER SERVICE\n")


def test_the_probe_loads_neither_the_library_nor_what_it_needs() -> None:
    """It is started every few seconds for each worker: it may cost a twentieth of their start."""
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "bad = {'messaging', 'django', 'celery', 'kombu', 'json', 'argparse'} & set(sys.modules); "
        "sys.exit(repr(bad) if bad else 0)"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(ROOT / "messaging/probe.py")]
    subprocess.run(command, check=True)
