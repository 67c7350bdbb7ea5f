"""What a child must not inherit."""

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from messaging import forking
from messaging.clock import SYSTEM_CLOCK
from messaging.forking import no_fork_meanwhile


def test_a_child_forked_while_threads_use_the_database_can_use_it(tmp_path: Path) -> None:
    """A pool's new child hung for ever in its first connect: SQLite's own lock was taken."""
    path = tmp_path / "database"
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            with no_fork_meanwhile():
                with sqlite3.connect(path) as db:
                    db.execute("CREATE TABLE IF NOT EXISTS t (x)")
                db.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert all(_child_connects(path) for _ in range(40))
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def test_who_is_inside_may_enter_again_while_another_wants_to_fork() -> None:
    inside, forked = threading.Event(), threading.Event()

    def enter_twice() -> None:
        with no_fork_meanwhile():
            inside.set()
            SYSTEM_CLOCK.sleep(0.05)  # the other one is about to fork by now, or soon
            with no_fork_meanwhile():
                assert not forked.is_set()

    thread = threading.Thread(target=enter_twice)
    thread.start()
    inside.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    forked.set()
    assert os.waitpid(pid, 0)[1] == 0
    thread.join()


def _child_connects(path: Path) -> bool:
    pid = os.fork()
    if pid == 0:
        sqlite3.connect(path).close()
        os._exit(0)
    give_up_at = SYSTEM_CLOCK.monotonic() + 5
    while SYSTEM_CLOCK.monotonic() < give_up_at:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status == 0
        SYSTEM_CLOCK.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False


def test_what_hangs_inside_is_waited_for_once_until_it_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A health check that hung held up every child of a pool for five seconds."""
    gate = forking._Gate()
    hung, another = Inside(gate), Inside(gate)

    def patience(seconds: float) -> None:
        monkeypatch.setattr(forking, "_PATIENCE_SECONDS", seconds)

    hung.enter()
    patience(0.05)
    assert _waits(gate, at_least_seconds=0.05)
    patience(10)
    assert not _waits(gate, at_least_seconds=5)
    patience(0.05)
    another.enter()
    assert _waits(gate, at_least_seconds=0.05)
    another.leave()
    hung.leave()
    hung.enter()  # once more: it may be short this time
    assert _waits(gate, at_least_seconds=0.05)
    hung.leave()
    patience(10)
    with gate.inside():  # and who forks never waits for itself
        assert not _waits(gate, at_least_seconds=5)


class Inside:
    """A thread that is inside a gate from `enter` until `leave`, more than once if wanted."""

    def __init__(self, gate: forking._Gate) -> None:
        self._gate = gate
        self._thread = ThreadPoolExecutor(1)

    def enter(self) -> None:
        self._context = self._gate.inside()
        self._thread.submit(self._context.__enter__).result(10)

    def leave(self) -> None:
        self._thread.submit(self._context.__exit__, None, None, None).result(10)


def _waits(gate: forking._Gate, *, at_least_seconds: float) -> bool:
    began_at = SYSTEM_CLOCK.monotonic()
    gate.close()
    gate.open()
    return SYSTEM_CLOCK.monotonic() - began_at >= at_least_seconds
