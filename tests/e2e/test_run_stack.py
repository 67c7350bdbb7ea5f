import json
import os
import re
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Workplace
from tests.support.processes import Process
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def wait_until_up(stack: Process) -> str:
    """Return what the stack printed, once it says that everything runs."""
    eventually(
        lambda: "Everything runs" in stack.log.read_text() or not stack.is_running(), 60, "stack"
    )
    text = stack.log.read_text()
    assert stack.is_running(), text
    return text


@pytest.fixture(scope="module")
def running(new_workplace: Callable[[], Workplace]) -> Workplace:
    """A stack that runs."""
    workplace = new_workplace()
    wait_until_up(workplace.start_stack())
    return workplace


def test_the_printed_login_works(running: Workplace) -> None:
    text = (running.folder / "stack.log").read_text()
    password = re.search(r"admin, password (\S+)\)", text)
    assert password is not None
    file = running.var_dir / "admin-password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    url = f"http://127.0.0.1:{running.gateway_port}/admin/login/"
    with httpx.Client(trust_env=False) as browser:
        browser.get(url)
        form = {"username": "admin", "password": password[1]}
        token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        answer = browser.post(f"{url}?next=/admin/", data={**form, **token})
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/admin/"


def test_a_start_shows_no_failures_of_its_own(running: Workplace) -> None:
    """The wait for the services was an edge of requests to the gateway, a third of them failed."""

    def flow() -> str:
        text = running.manage("bus_top", "--json").stdout
        return text if json.loads(text)["edges"] else ""

    assert "run-stack" not in eventually(flow, 40, "figures of the first heartbeats")


def test_flower_shows_itself_to_who_has_its_password(running: Workplace) -> None:
    url = f"http://127.0.0.1:{running.flower_port}"
    printed = (running.folder / "stack.log").read_text()
    login = re.search(rf"Flower +{url}/  \(flower, password (\S+)\)", printed)
    assert login is not None
    assert stat.S_IMODE((running.var_dir / "flower-password").stat().st_mode) == 0o600
    eventually(lambda: answer(f"{url}/healthcheck") == 200, 20, "Flower")
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
        assert answer(url + path) == 401, path
        assert answer(url + path, ("flower", "wrong")) == 401, path
        assert answer(url + path, ("flower", login[1])) == 200, path
    assert answer(f"{url}/api/worker/shutdown/celery@x", method="POST") == 401
    assert answer(f"{url}/metrics") == 200
    # Workers that were there to be asked answered all it asked.
    assert "Inspect method" not in (running.var_dir / "log" / "flower.log").read_text()


def answer(url: str, auth: tuple[str, str] | None = None, method: str = "GET") -> int | None:
    try:
        return httpx.request(
            method, url, auth=auth, trust_env=False, follow_redirects=True
        ).status_code
    except httpx.TransportError:
        return None


def test_a_second_stack_in_the_same_folder_is_refused_in_one_line(running: Workplace) -> None:
    second = running.manage("run_stack")
    assert second.returncode == 1
    [line] = second.stderr.splitlines()
    assert f"a stack runs in {running.var_dir} already" in line


def test_a_taken_port_is_refused_in_one_line(running: Workplace, workplace: Workplace) -> None:
    workplace.environment["GATEWAY_PORT"] = str(running.gateway_port)
    refused = workplace.manage("run_stack")
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert f"port {running.gateway_port} is taken" in line
    # What was chosen before stays chosen.
    assert "GATEWAY_PORT=" in line
    assert f"FLOWER_PORT={workplace.environment['FLOWER_PORT']} make run" in line


def test_ctrl_c_stops_everything(workplace: Workplace) -> None:
    stack = workplace.start_stack()
    wait_until_up(stack)
    assert len(workplace.pids()) >= 8
    stack.signal(signal.SIGINT)
    assert stack.wait(15) == 0
    assert workplace.pids() == []


def test_closing_the_terminal_stops_everything(workplace: Workplace) -> None:
    stack = workplace.start_stack()
    eventually(lambda: pid_of(workplace, "services.user"), 30)
    stack.signal(signal.SIGHUP)
    stack.wait(20)
    assert workplace.pids() == []


def test_a_process_that_dies_is_named_and_ends_the_rest(workplace: Workplace) -> None:
    stack = workplace.start_stack()
    pid = eventually(lambda: pid_of(workplace, "services.user"), 30)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert stack.wait(20) == 1
    assert "user-service ended by signal 9" in stack.log.read_text()
    assert workplace.pids() == []


def pid_of(workplace: Workplace, argument: str) -> int | None:
    """Return the pid of the program that was given this argument; None before its start."""
    for pid in workplace.pids():
        # A shell that is about to become the program has all of it as one argument.
        if argument.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return pid
    return None
