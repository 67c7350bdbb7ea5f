import os

import pytest

from gateway_app.tour.program import STEPS
from tests.e2e.conftest import Workplace

pytestmark = pytest.mark.slow


def test_the_demo_plays_every_step_and_leaves_nothing_behind(workplace: Workplace) -> None:
    done = workplace.manage("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.count("    ok in ") == len(STEPS)
    assert "\x1b" not in done.stdout  # colours are for terminals
    assert workplace.pids() == []
    assert not [name for name in os.listdir(workplace.folder) if name.startswith("bus-demo-")]
