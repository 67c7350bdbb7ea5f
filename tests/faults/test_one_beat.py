"""Two beats and two workers of the gateway: every command is sent once, whoever of them dies."""

import signal
import sqlite3
from collections.abc import Callable

import pytest

from messaging.clock import SYSTEM_CLOCK
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import eventually

SWEEP_SECONDS = 1.0
LEASE_SECONDS = 3 * SWEEP_SECONDS
ROUND_SECONDS = 2.0


class Beats:
    """Two beats, and what workers did that they told to."""

    def __init__(self, installation: Installation) -> None:
        installation.settings |= {
            "heartbeat_seconds": SWEEP_SECONDS,
            "suspect_seconds": 3 * SWEEP_SECONDS,
            "down_seconds": 6 * SWEEP_SECONDS,
            "health_check_seconds": ROUND_SECONDS,
        }
        self._database: sqlite3.Connection = installation.database()
        self._database.execute("CREATE TABLE done (what TEXT)")
        for column in ("swept_at", "round_at"):
            self._database.execute(
                f"CREATE TRIGGER note_{column} AFTER UPDATE OF {column} "
                f"ON gateway_app_registrystatus BEGIN INSERT INTO done VALUES ('{column}'); END"
            )
        for number in range(2):
            installation.start(f"worker-{number}", "celery", "-A", "gateway_app", "worker")
        self.processes = [
            installation.start(f"beat-{number}", "celery", "-A", "gateway_app", "beat")
            for number in range(2)
        ]

    def count(self, column: str) -> int:
        """How often a worker has swept, or gone its round."""
        row = self._database.execute("SELECT count(*) FROM done WHERE what = ?", [column])
        return int(row.fetchone()[0])

    def acting(self) -> Process | None:
        """Who holds the lease, lapsed or not."""
        row = self._database.execute("SELECT holder FROM gateway_app_lease").fetchone()
        pid = row[0].split("/")[1] if row and row[0] else ""
        return next((beat for beat in self.processes if str(beat.pid) == pid), None)

    def standing_by(self) -> Process:
        (other,) = [beat for beat in self.processes if beat is not self.acting()]
        return other

    def wait_until_swept(self, times: int = 1) -> None:
        count = self.count("swept_at") + times
        eventually(lambda: self.count("swept_at") >= count, 30 + 5 * times, "swept")

    def rates(self, sweeps: int) -> tuple[float, float]:
        """Sweeps and rounds per interval, over so many sweeps."""
        self.wait_until_swept()
        began, rounds = SYSTEM_CLOCK.monotonic(), self.count("round_at")
        swept = self.count("swept_at")
        self.wait_until_swept(sweeps)
        seconds = SYSTEM_CLOCK.monotonic() - began
        swept, rounds = self.count("swept_at") - swept, self.count("round_at") - rounds
        return swept * SWEEP_SECONDS / seconds, rounds * ROUND_SECONDS / seconds


@pytest.fixture
def beats(installation: Installation) -> Beats:
    return Beats(installation)


@pytest.fixture
def taken_over(beats: Beats) -> Callable[[Process], float]:
    """Wait until another beat acts than this one; return after how long."""

    def wait(former: Process) -> float:
        began = SYSTEM_CLOCK.monotonic()
        eventually(lambda: beats.acting() not in (former, None), 30, "another beat acts")
        return SYSTEM_CLOCK.monotonic() - began

    return wait


@pytest.mark.long_elsewhere
def test_each_command_is_sent_once_and_by_the_other_beat_when_the_first_is_killed(
    beats: Beats, taken_over: Callable[[Process], float]
) -> None:
    sweep_rate, round_rate = beats.rates(sweeps=8)
    assert sweep_rate < 1.3
    assert 0.4 < round_rate < 1.6

    killed = beats.acting()
    assert killed is not None
    killed.kill()
    assert taken_over(killed) < LEASE_SECONDS + 2  # it looks once a second
    beats.wait_until_swept()

    stopped = beats.acting()
    assert stopped is not None
    stopped.stop()
    assert beats.acting() is None  # given up: another one need not wait


@pytest.mark.embedded_only
def test_a_beat_that_was_frozen_does_not_send_beside_the_one_that_took_over(
    beats: Beats, taken_over: Callable[[Process], float]
) -> None:
    beats.wait_until_swept()
    frozen = beats.acting()
    assert frozen is not None
    frozen.signal(signal.SIGSTOP)
    try:
        taken_over(frozen)
    finally:
        frozen.signal(signal.SIGCONT)
    assert beats.rates(sweeps=8)[0] < 1.3
    assert beats.acting() not in (frozen, None)
    assert "another beat has taken over" in frozen.log.read_text()
