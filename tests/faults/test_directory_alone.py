"""A service that wants to know of another one while the gateway is away."""

from datetime import datetime
from typing import Any

import pytest

from messaging import RemoteError, RequestTimeout
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now
from messaging.errors import MessagingError
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


def test_what_the_gateway_said_last_is_known_while_its_worker_is_killed_and_until_it_is_back(
    installation: Installation,
) -> None:
    installation.settings |= {"heartbeat_seconds": 1.0, "suspect_seconds": 5.0}
    command = ("celery", "-A", "gateway_app", "worker")
    gateway = installation.start("api-gateway", *command)
    installation.start_worker("probe")
    asker = installation.communicator("asker")

    def discovered() -> dict[str, Any]:
        try:
            return asker.discover("probe", timeout=5)
        except MessagingError:
            return {}

    known = eventually(discovered, 30)
    assert known["instances"][0]["state"] == "UP"
    assert "order" in known["handles"]
    with pytest.raises(RemoteError):
        asker.discover("never-heard-of", timeout=10)

    gateway.kill()
    known = asker.discover("probe", timeout=5)
    killed_at = utc_now()
    began = SYSTEM_CLOCK.monotonic()
    for _ in range(50):
        assert asker.discover("probe", timeout=5) == known
    assert SYSTEM_CLOCK.monotonic() - began < 5
    eventually(lambda: (utc_now() - killed_at).total_seconds() > 1.5)
    began = SYSTEM_CLOCK.monotonic()
    assert asker.discover("probe", timeout=5) == known
    assert SYSTEM_CLOCK.monotonic() - began < 3  # it waits for one heartbeat, not for its timeout
    with pytest.raises(RequestTimeout):
        asker.discover("probe", timeout=0.5, fresh=True)
    assert datetime.fromisoformat(known["as_of"]) < killed_at

    installation.start("api-gateway", *command)
    eventually(lambda: (discovered() or known)["as_of"] > known["as_of"], 30)
