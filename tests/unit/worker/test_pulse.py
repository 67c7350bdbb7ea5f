"""What a worker's pulse leaves, and leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from messaging import MessagingConfig
from messaging.probe import path_of
from messaging.worker.pulse import PulseThread


@pytest.fixture
def a_dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_start_sweeps_what_the_dead_left_and_nothing_of_another_that_starts(
    tmp_path: Path, a_dead_pid: int
) -> None:
    """The other one has written its first pulse beside, and not renamed it yet."""
    folder, starting = str(tmp_path), os.getppid()
    left = [path_of(folder, "billing", a_dead_pid), path_of(folder, "billing", starting) + ".new"]
    left += [path_of(folder, "shop", a_dead_pid), str(tmp_path / "billing.note")]
    for path in left:
        Path(path).touch()
    pulse = PulseThread(
        MessagingConfig(broker_url="sqlite:///unused", pulse_folder=folder), "billing"
    )
    pulse.start()
    try:
        own = path_of(folder, "billing", os.getpid())
        assert {str(path) for path in tmp_path.iterdir()} - {f"{own}.new"} == {own, *left[1:]}
    finally:
        pulse.stop()
