"""What is made of the answers to health checks by message, and of none."""

import asyncio
from typing import Any, cast

from gateway_app.health import message_checks
from gateway_app.health.message_checks import ask_all
from messaging import (
    BrokerUnavailable,
    RemoteError,
    RequestTimeout,
    ServiceCommunicator,
    ServiceNotFound,
)
from messaging.clock import SYSTEM_CLOCK
from messaging.errors import PublishUncertain
from messaging.registration import HEALTH_CHECK


class Communicator:
    """Answers with what the name of the service stands for; counts who waits at one time."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most_waiting = 0

    async def request_async(self, name: str, message_type: str, _data: Any, **_: Any) -> Any:
        assert message_type == HEALTH_CHECK
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        try:
            await asyncio.sleep(0.001)
            return await self._answer(name)
        finally:
            self.waiting -= 1

    async def _answer(self, name: str) -> Any:
        errors = {
            "silent": RequestTimeout(name, HEALTH_CHECK, 2.0),
            "failing": RemoteError("ValueError", "no", retryable=False),
            "missing": ServiceNotFound(name),
            "cut-off": BrokerUnavailable("away"),
            "held-up": PublishUncertain("the broker did not take it"),
        }
        if name in errors:
            raise errors[name]
        return {"status": "UP"}


def ask(*names: str, seconds: float = 60.0) -> tuple[dict[str, tuple[str, bool]], Communicator]:
    communicator = Communicator()
    ends_at = SYSTEM_CLOCK.monotonic() + seconds
    results = ask_all(cast(ServiceCommunicator, communicator), names, ends_at=ends_at)
    found = {name: (result.state.value, result.is_check) for name, result in results.items()}
    return found, communicator


def test_what_a_check_says_of_a_service() -> None:
    found, _ = ask("well", "silent", "failing", "missing", "cut-off", "held-up")
    assert found == {
        "well": ("UP", True),
        "silent": ("SUSPECT", True),
        "failing": ("SUSPECT", True),
        "missing": ("DOWN", True),
        "cut-off": ("UNKNOWN", False),
        "held-up": ("UNKNOWN", False),
    }


def test_many_are_asked_at_the_same_time_but_not_all() -> None:
    names = [f"s{number}" for number in range(3 * message_checks.AT_ONCE)]
    found, communicator = ask(*names)
    assert set(found.values()) == {("UP", True)}
    assert len(found) == len(names)
    assert communicator.most_waiting == message_checks.AT_ONCE


def test_whose_turn_does_not_come_in_time_is_not_asked() -> None:
    assert ask("well", seconds=0.0)[0] == {"well": ("UNKNOWN", False)}
