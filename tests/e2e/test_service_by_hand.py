import json
from subprocess import CompletedProcess

import pytest

from tests.e2e.conftest import Workplace
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def answered(workplace: Workplace, *question: str) -> CompletedProcess[str] | None:
    done = workplace.manage(*question)
    return done if done.returncode == 0 else None


def test_one_worker_and_nothing_else_answers_a_request(workplace: Workplace) -> None:
    """What the README tells a newcomer to type."""
    assert workplace.manage("migrate", "--verbosity=0").returncode == 0
    worker = workplace.start("user.log", "celery", "-A", "services.user", "worker")
    question = ("bus_request", "user-service", "get.user.details", '{"userId": 123}')
    asked = eventually(lambda: answered(workplace, *question), 30, "the worker")
    assert asked is not None
    assert json.loads(asked.stdout)["name"] == "Ada Lovelace"
    unknown = workplace.manage("bus_request", "user-service", "get.user.details", '{"userId": 9}')
    assert unknown.returncode == 1
    assert "UserNotFound: there is no user 9" in unknown.stderr
    assert worker.stop() == 0
