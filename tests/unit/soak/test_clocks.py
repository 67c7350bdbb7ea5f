"""Wall clocks of the soak's processes: set at once, each on its own, or not at all."""

import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from messaging.clock import SYSTEM_CLOCK
from tests.soak.clocks import Clocks
from tests.soak.evidence import Letter, instants, rows_due_after
from tests.soak.names import CLOCK_JUMP, JUMP_SECONDS
from tests.soak.turns import Span

SHOWS = "import time, sys; sys.stdin.readline(); print(time.time(), time.monotonic())"

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler"
)


@needs_compiler
def test_a_running_process_sees_its_clock_jump_and_its_monotonic_one_go_on(tmp_path: Path) -> None:
    those = Clocks(tmp_path / "clocks")
    assert not those.obstacle
    command = [sys.executable, "-c", SHOWS]
    pipe = subprocess.PIPE
    env = those.environment("one")
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as process:
        those.set("one", JUMP_SECONDS)
        wall, monotonic = map(float, process.communicate("\n")[0].split())
    assert wall == pytest.approx(SYSTEM_CLOCK.now() + JUMP_SECONDS, abs=60)
    assert monotonic == pytest.approx(SYSTEM_CLOCK.monotonic(), abs=60)


@needs_compiler
def test_a_process_that_is_started_again_has_the_clock_of_its_name_and_of_no_other(
    tmp_path: Path,
) -> None:
    those = Clocks(tmp_path / "clocks")
    those.environment("one")
    those.environment("other")
    those.set("one", -JUMP_SECONDS)
    for name, offset in (("one", -JUMP_SECONDS), ("other", 0)):
        command = [sys.executable, "-c", SHOWS]
        shown = subprocess.check_output(
            command, env=those.environment(name), input="\n", text=True
        )
        assert float(shown.split()[0]) == pytest.approx(SYSTEM_CLOCK.now() + offset, abs=60)


def test_without_a_compiler_no_clock_is_set_and_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    those = Clocks(tmp_path / "clocks")
    assert "C compiler" in those.obstacle
    assert those.environment("one") == {}


def test_what_cannot_be_compiled_is_an_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no headers >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert Clocks(tmp_path / "clocks").obstacle.endswith("no headers\n")


def test_a_letter_that_a_clock_ahead_has_dated_may_be_an_hour_older() -> None:
    jump = Span(CLOCK_JUMP, 100.0, 110.0)
    late, right = (
        Letter("m", "steady", "t", "expired", "", at) for at in (105.0 + JUMP_SECONDS, 105.0)
    )
    assert instants(late, [jump]) == [105.0 + JUMP_SECONDS, 105.0]
    assert instants(right, [jump]) == [105.0]
    assert instants(late, []) == [105.0 + JUMP_SECONDS]


def test_rows_that_a_clock_ahead_has_put_off_are_told_from_those_that_are_due() -> None:
    database = sqlite3.connect(":memory:")
    now = SYSTEM_CLOCK.now()
    for table in ("messaging_outboxmessage", "messaging_inboxmessage"):
        database.execute(f"CREATE TABLE {table} (due_at TEXT)")
        for ahead in (-JUMP_SECONDS, 5, JUMP_SECONDS):
            due_at = datetime.fromtimestamp(now + ahead, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
            database.execute(f"INSERT INTO {table} VALUES (?)", (due_at,))
        database.execute(f"INSERT INTO {table} VALUES (NULL)")
    assert rows_due_after(database, now + JUMP_SECONDS / 2) == 2
