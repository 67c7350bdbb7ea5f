"""What a child must not inherit."""

import os
import sqlite3
import threading
from pathlib import Path

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
