"""What the heartbeats of a worker in trouble say."""

from typing import Any

import pytest

from messaging import codec
from messaging.histogram import bucket_of
from messaging.registration import ANNOUNCE
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


@pytest.fixture
def heartbeats(installation: Installation) -> Any:
    """Take the heartbeats that wait for the gateway, which does not run here, and add them."""
    installation.settings["heartbeat_seconds"] = 0.5
    heard: list[dict[str, Any]] = []

    def listen() -> list[dict[str, Any]]:
        bus = installation.communicator().bus
        with bus.connection() as connection:
            queue = bus.topology.service_queue("api-gateway")(connection.channel())
            queue.declare()
            while (message := queue.get(no_ack=True)) is not None:
                envelope = codec.decode(message.body)
                if envelope.type == ANNOUNCE:
                    heard.append(envelope.data)
        return heard

    return listen


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_check_that_hangs_is_told_as_failing_by_heartbeats_that_go_on(
    installation: Installation, heartbeats: Any, pool: str
) -> None:
    installation.start_worker("probe", PROBE_HANGS="1", MESSAGING_WORKER_POOL=pool)
    asker = installation.communicator("asker")

    def failing() -> list[dict[str, Any]]:
        return [heartbeat for heartbeat in heartbeats() if "hangs" in heartbeat["checks"]]

    eventually(lambda: len(failing()) >= 3)
    assert failing()[0]["checks"]["hangs"] == {"ok": False, "text": "no result for 1 s"}
    assert failing()[-1]["checks"]["passes"] == {"ok": True, "text": ""}
    assert len(installation.journal("probe").lines(event="check")) == 1
    assert asker.request("probe", "echo", 1, timeout=10) == 1
    health = asker.request("probe", "service.health.check", {}, timeout=10)
    assert health["checks"]["hangs"]["ok"] is False
    assert health["load"]["capacity"] == 4


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_the_load_of_a_worker_and_what_it_has_handled_are_told(
    installation: Installation, heartbeats: Any, pool: str
) -> None:
    installation.start_worker("probe", concurrency=2, MESSAGING_WORKER_POOL=pool)
    sender = installation.communicator()
    for _ in range(3):
        sender.send_to_service("probe", "work", {})
    sender.send_to_service("probe", "work", {"seconds": 3})
    sender.send_to_service("probe", "reject", {})

    def flow(message_type: str) -> list[dict[str, Any]]:
        told = [row for heartbeat in heartbeats() for row in heartbeat.get("flow", ())]
        return [row for row in told if row["type"] == message_type]

    def load() -> dict[str, Any]:
        return dict(heartbeats()[-1]["load"]) if heartbeats() else {}

    eventually(lambda: load().get("busy") == 1 and load()["oldest_seconds"] > 1)
    assert (load()["consumed"], load()["capacity"]) == (5, 2)
    eventually(lambda: (load()["busy"], load()["oldest_seconds"]) == (0, 0.0))
    eventually(lambda: sum(row["count"] for row in flow("work")) == 4)
    longest = [max(number for number, _ in row["handling"]) for row in flow("work")]
    # A pool of processes tells a moment later that it has begun.
    assert bucket_of(2.5) <= max(longest) <= bucket_of(20.0)
    told = {(row["source"], row["kind"], row["priority"]) for row in flow("work")}
    assert told == {("tester", "command", "NORMAL")}
    (rejected,) = eventually(lambda: flow("reject"))
    assert (rejected["count"], rejected["failures"]) == (1, 1)
    assert "this will never do" in rejected["last_error"]


def test_a_worker_that_takes_no_messages_any_more_can_be_told_by_its_load(
    installation: Installation, heartbeats: Any
) -> None:
    installation.start_worker("probe")
    sender = installation.communicator()
    sender.send_to_service("probe", "work", {"seconds": 1})
    sender.send_to_service("probe", "wedge", {})
    eventually(lambda: heartbeats() and heartbeats()[-1]["load"]["consumed"] == 2)
    sender.send_to_service("probe", "work", {})
    heard = len(heartbeats())
    eventually(lambda: len(heartbeats()) > heard + 4)
    loads = [heartbeat["load"] for heartbeat in heartbeats()[-3:]]
    assert [(load["consumed"], load["busy"]) for load in loads] == [(2, 0)] * 3
