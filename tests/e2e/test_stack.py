"""The stack with programs that take no time to start."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from gateway_app import stack as stack_module
from gateway_app.log_follower import LogFollower
from gateway_app.preconditions import free_port, is_port_taken, only_one
from gateway_app.process import (
    child_environment,
    held_signals,
    stop_if_asked,
    stopped_by_signals,
)
from gateway_app.procfile import ProcfileEntry, read_procfile
from gateway_app.stack import Instance, Stack, StackError
from messaging.envelope import utc_now
from tests.support.installation import ROOT
from tests.support.waiting import eventually

SLEEP = "python -c 'import time; print(\"started\"); time.sleep(60)'"
STUBBORN = (
    "python -c 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    'print("started"); time.sleep(60)\''
)


@pytest.fixture
def new_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    made: list[Stack] = []

    def make(known: Sequence[Instance] = (), **commands: str) -> Stack:
        stack = Stack(
            [ProcfileEntry(name.replace("_", "-"), text) for name, text in commands.items()],
            directory=tmp_path,
            log_dir=tmp_path / "log",
            environment=child_environment(),
            instances=lambda _service: known,
            gateway_url=f"http://127.0.0.1:{free_port()}",
        )
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.stop()


def has_started(stack: Stack, name: str) -> bool:
    return "started" in stack.processes[name].log_tail()


def test_the_procfile_lists_a_worker_for_every_service() -> None:
    entries = {entry.name: entry for entry in read_procfile(ROOT / "Procfile")}
    workers = {name for name, entry in entries.items() if entry.is_worker}
    folders = {path.parent.name for path in (ROOT / "services").glob("*/celery.py")}
    assert folders >= {"user", "document", "scraper"}
    assert workers == {"api-gateway", *(f"{folder}-service" for folder in folders)}
    assert set(entries) - workers == {"web", "beat", "flower"}


def test_a_procfile_may_hold_comments_and_empty_lines(tmp_path: Path) -> None:
    file = tmp_path / "Procfile"
    file.write_text("# all of it\n\nweb: serve --port $PORT\nuser-service:celery -A x worker\n")
    assert read_procfile(file) == [
        ProcfileEntry("web", "serve --port $PORT"),
        ProcfileEntry("user-service", "celery -A x worker"),
    ]


def test_a_process_that_dies_is_named_with_the_end_of_its_log(
    new_stack: Callable[..., Stack],
) -> None:
    stack = new_stack(good=SLEEP, bad="python -c 'raise SystemExit(\"no such table\")'")
    stack.start()
    eventually(lambda: not stack.processes["bad"].is_running)
    with pytest.raises(StackError, match=r"bad ended with exit code 1\n.*\n.*no such table"):
        stack.check()


def test_a_process_that_was_stopped_is_not_missed(new_stack: Callable[..., Stack]) -> None:
    stack = new_stack(one=SLEEP, two=SLEEP)
    stack.start()
    stack.stop("one")
    stack.check()
    stack.start("one")
    assert stack.processes["one"].is_running


def test_a_process_that_ignores_term_is_killed(
    new_stack: Callable[..., Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "STOP_SECONDS", 0.1)
    stack = new_stack(stubborn=STUBBORN)
    stack.start()
    eventually(lambda: has_started(stack, "stubborn"))
    stack.stop()
    assert stack.processes["stubborn"].exit_code == -signal.SIGKILL


def test_what_a_process_started_ends_with_it(new_stack: Callable[..., Stack]) -> None:
    stack = new_stack(parent="sh -c 'sleep 60 & echo started $!; wait'")
    stack.start()
    eventually(lambda: has_started(stack, "parent"))
    child = int(stack.processes["parent"].log_tail().split()[-1])
    stack.stop()
    eventually(lambda: not is_alive(child))


def is_alive(pid: int) -> bool:
    try:
        # A killed orphan stays a zombie until somebody adopts it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_stack_that_does_not_become_ready_says_who_is_missing(
    new_stack: Callable[..., Stack],
) -> None:
    stack = new_stack(web=SLEEP)
    stack.start()
    with pytest.raises(StackError, match=r"web not ready after 0.2 s\n--- .*/log/web.log"):
        stack.wait_until_ready(timeout_seconds=0.2)


@pytest.mark.parametrize(
    ("state", "age_seconds", "is_ready"), [("UP", 0, True), ("UP", 60, False), ("DOWN", 0, False)]
)
def test_an_instance_of_an_earlier_run_does_not_count(
    new_stack: Callable[..., Stack],
    state: str,
    age_seconds: int,
    is_ready: bool,
) -> None:
    known: list[Instance] = []
    stack = new_stack(known, user_service="celery -A services.user worker")
    known.append(Instance(state, utc_now() - timedelta(seconds=age_seconds)))
    assert stack._is_up("user-service") is is_ready


def test_a_folder_has_one_stack_at_a_time(tmp_path: Path) -> None:
    with only_one(tmp_path) as lock:
        os.write(lock, b"17 18")
        with pytest.raises(StackError, match=r"already \(pids 17 18\)"), only_one(tmp_path):
            pass
    with only_one(tmp_path):
        pass


def test_a_port_is_free_until_somebody_listens() -> None:
    port = free_port()
    assert not is_port_taken(port)


def test_a_signal_waits_until_the_pid_is_known() -> None:
    seen = []

    def be_interrupted() -> None:
        with held_signals():
            signal.raise_signal(signal.SIGTERM)
            seen.append("after the signal")
        seen.append("never")

    with stopped_by_signals(), pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert seen == ["after the signal"]


def test_new_lines_of_logs_are_shown_whole_under_the_name_of_their_process(
    tmp_path: Path,
) -> None:
    files = {"web": tmp_path / "web.log", "user-service": tmp_path / "user.log"}
    for file in files.values():
        file.write_text("before\n")
    follower = LogFollower(files)
    assert list(follower.new_lines()) == []
    with files["web"].open("a") as log:
        log.write("one\ntwo\nhal")
    assert list(follower.new_lines()) == ["web          | one", "web          | two"]
    with files["web"].open("a") as log:
        log.write("f\n")
    assert list(follower.new_lines()) == ["web          | half"]


def test_a_stop_that_was_swallowed_where_it_came_is_seen_by_the_next_look() -> None:
    """As by a callback of the garbage collector: the stack ran on, and heard nothing any more."""
    with stopped_by_signals():
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            stop_if_asked()
    stop_if_asked()  # of the next one nobody has asked anything
