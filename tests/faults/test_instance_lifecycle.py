"""What the registry makes of instances that die, return, stop, fall silent and are taken out."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from messaging.clock import SYSTEM_CLOCK
from tests.support.http_stack import FAST, SERVICE, HttpStack
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.embedded_only


@pytest.fixture
def stack(installation: Installation) -> Iterator[HttpStack]:
    # Health endpoints are asked in the test of them alone: here heartbeats tell.
    with HttpStack(installation, health_check_seconds=30.0) as stack:
        yield stack.start()


def records(stack: HttpStack) -> list[tuple[str, str, str]]:
    """The transitions of instances of the service, the oldest first: from, to, cause."""
    rows = stack.installation.database().execute(
        "SELECT r.previous_state, r.state, r.cause FROM gateway_app_healthrecord r"
        " JOIN gateway_app_service s ON s.id = r.service_id"
        " WHERE s.name = ? AND r.instance_id != '' ORDER BY r.id",
        (SERVICE,),
    )
    return [tuple(row) for row in rows]


def services(stack: HttpStack) -> dict[str, Any]:
    done = stack.installation.manage("bus_services", "--json")
    return {service["name"]: service for service in json.loads(done.stdout)}


def test_killed_returned_and_stopped_each_with_its_cause(stack: HttpStack) -> None:
    first = stack.start_instance()
    stack.wait_routed()
    first.process.kill()
    killed_at = SYSTEM_CLOCK.monotonic()
    eventually(lambda: records(stack)[-1][1] == "SUSPECT", 10, "SUSPECT")
    suspect_seconds = SYSTEM_CLOCK.monotonic() - killed_at
    eventually(lambda: records(stack)[-1][1] == "DOWN", 10, "DOWN")
    down_seconds = SYSTEM_CLOCK.monotonic() - killed_at
    # Silence is looked for every heartbeat, and counts from the last one.
    slack = 3 * FAST["heartbeat_seconds"]
    assert FAST["suspect_seconds"] - slack < suspect_seconds < FAST["suspect_seconds"] + slack
    assert FAST["down_seconds"] - slack < down_seconds < FAST["down_seconds"] + slack
    # What was sent before routing knew of it waits its time out.
    refused = refusal(stack)
    assert refused.headers["retry-after"] == "5"

    second = stack.start_instance(first.port)
    eventually(lambda: records(stack)[-1][1] == "UP", 10, "UP")
    stack.wait_routed("/api/web/orders/1")
    second.process.stop()
    eventually(lambda: records(stack)[-1][1] == "DOWN", 5, "the clean stop is seen at once")

    (_, up, suspect, down, again, left) = [("", "", ""), *records(stack)][-6:]
    assert up == ("", "UP", "registered")
    assert suspect[:2] == ("UP", "SUSPECT")
    assert "silent for 2 s" in suspect[2] or "silent for 3 s" in suspect[2]
    assert down[:2] == ("SUSPECT", "DOWN")
    assert "silent" in down[2]
    assert again == ("", "UP", "registered")
    assert left == ("UP", "DOWN", "deregistered")


def refusal(stack: HttpStack) -> httpx.Response:
    """Return the 503 that a request is answered with, once routing knows of it."""
    answers: list[httpx.Response] = []

    def is_refused() -> bool:
        answers.append(stack.client.get("/api/web/orders/1"))
        return answers[-1].status_code == 503

    eventually(is_refused, 10, "503")
    return answers[-1]


def test_a_frozen_instance_is_up_again_with_its_next_heartbeat(stack: HttpStack) -> None:
    instance = stack.start_instance()
    stack.wait_routed()
    instance.process.signal(signal.SIGSTOP)
    eventually(lambda: records(stack)[-1][1] == "DOWN", 10, "DOWN")
    instance.process.signal(signal.SIGCONT)
    woken_at = SYSTEM_CLOCK.monotonic()
    eventually(lambda: records(stack)[-1][1] == "UP", 10, "UP")
    assert SYSTEM_CLOCK.monotonic() - woken_at < 3 * FAST["heartbeat_seconds"]
    assert "heard again" in records(stack)[-1][2]


def test_a_failing_health_endpoint_takes_an_instance_out_and_one_success_brings_it_back(
    installation: Installation,
) -> None:
    with HttpStack(installation) as stack:
        stack.start()
        _check_a_failing_endpoint(stack)


def _check_a_failing_endpoint(stack: HttpStack) -> None:
    ill, well = stack.start_instance(), stack.start_instance()
    stack.wait_routed()
    ill.set(health=503)
    eventually(lambda: records(stack)[-1][1] == "DOWN", 15, "DOWN by its health endpoint")
    assert "HTTP 503" in records(stack)[-1][2]
    eventually(lambda: _answered_by(stack) == {well.process.pid}, 10, "only the other one")
    ill.set(health=200)
    eventually(lambda: records(stack)[-1][1] == "UP", 10, "UP by one success")


def _answered_by(stack: HttpStack) -> set[int]:
    return {stack.client.get("/api/web/who").json()["pid"] for _ in range(6)}


def test_all_silent_at_once_are_kept_with_a_banner_until_they_are_heard_again(
    stack: HttpStack,
) -> None:
    process = stack.installation.start(
        "presences", "python", "-m", "tests.support.presences", "10"
    )
    eventually(lambda: states(stack) == {"UP": 10}, 20, "all ten")
    process.signal(signal.SIGSTOP)
    eventually(lambda: has_banner(stack), 20, "the banner")
    assert "silent at once" in stack.installation.manage("bus_services").stdout
    swept = sweeps(stack)
    eventually(lambda: len(swept | sweeps(stack, swept)) >= 8, 20, "enough sweeps for DOWN")
    assert states(stack) == {"SUSPECT": 10}
    process.signal(signal.SIGCONT)
    eventually(lambda: states(stack) == {"UP": 10}, 10, "all UP again")
    eventually(lambda: not has_banner(stack), 10, "no banner any more")
    assert "silent at once" not in stack.installation.manage("bus_services").stdout


def has_banner(stack: HttpStack) -> bool:
    """Return whether the registry blames itself."""
    query = "SELECT mass_silence_since FROM gateway_app_registrystatus"
    return stack.installation.database().execute(query).fetchone()[0] is not None


def states(stack: HttpStack) -> Counter[str]:
    rows = stack.installation.database().execute(
        "SELECT i.state FROM gateway_app_serviceinstance i JOIN gateway_app_service s"
        " ON s.id = i.service_id WHERE s.name LIKE 'present-%'"
    )
    return Counter(state for (state,) in rows)


def sweeps(stack: HttpStack, seen: set[str] | None = None) -> set[str]:
    """When the registry was looked through, as far as it was seen; added to what is given."""
    rows = stack.installation.database().execute("SELECT swept_at FROM gateway_app_registrystatus")
    found = set() if seen is None else seen
    found.update(swept_at for (swept_at,) in rows)
    return found


def test_maintenance_takes_a_service_out_and_ends_by_itself(stack: HttpStack) -> None:
    stack.start_instance()
    stack.wait_routed("/api/web/orders/1")
    done = stack.installation.manage("bus_maintenance", SERVICE, "--for", "6s")
    assert done.returncode == 0, done.stderr
    refused = refusal(stack)
    assert "maintenance" in refused.json()["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 6
    assert services(stack)[SERVICE]["state"] == "MAINTENANCE"
    stack.wait_routed("/api/web/orders/1")
    assert [record[1] for record in records(stack)] == ["UP", "MAINTENANCE", "UP"]
