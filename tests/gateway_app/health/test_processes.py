"""Health rounds of a running gateway over running workers, stuck and busy ones."""

from typing import Any

import pytest

from messaging.registration import HEALTH_ROUND
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


class Gateway:
    """A running gateway that does a health round when it is told to, not when beat says so."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._beat = installation.communicator("api-gateway")
        self._database = installation.database()
        installation.start("api-gateway", "celery", "-A", "gateway_app", "worker")
        eventually(lambda: self.instance("api-gateway"), 30, "the gateway is registered")

    def instance(self, service: str) -> dict[str, Any]:
        """Return what is on record about the one instance of a service; empty: nothing."""
        row = self._database.execute(
            "SELECT i.instance_id, i.state, i.wedged, i.heard, s.last_health_json"
            " FROM gateway_app_service s"
            " JOIN gateway_app_serviceinstance i ON i.service_id = s.id"
            " WHERE s.name = ? AND i.left_at IS NULL",
            (service,),
        ).fetchone()
        return (
            {}
            if row is None
            else dict(zip(("id", "state", "wedged", "heard", "last"), row, strict=True))
        )

    def round(self) -> None:
        """Have one round done; on return it is over."""
        before = self._rounds()
        self._beat.tell("api-gateway", HEALTH_ROUND, {}, expires_in=30)
        eventually(lambda: self._rounds() != before, 30, "a health round")

    def control(self, command: str, **arguments: Any) -> None:
        """Have Celery's remote control tell all workers something, and wait for an answer."""
        answers = self._beat.celery_app.control.broadcast(
            command, arguments=arguments, reply=True, timeout=10, limit=1
        )
        assert answers

    def _rounds(self) -> Any:
        query = "SELECT round_at FROM gateway_app_registrystatus"
        return self._database.execute(query).fetchone()


@pytest.fixture
def gateway(installation: Installation) -> Gateway:
    installation.settings |= {"heartbeat_seconds": 0.3, "handler_timeout_seconds": 60}
    return Gateway(installation)


def test_a_worker_that_lives_but_has_stopped_consuming_is_found_out_until_it_consumes_again(
    installation: Installation, gateway: Gateway
) -> None:
    installation.start_worker("stuck")
    eventually(lambda: gateway.instance("stuck"), what="registered")
    gateway.round()
    assert '"answered"' in gateway.instance("stuck")["last"]

    gateway.control("probe_consume", takes=False)
    sender = installation.communicator()
    for number in range(3):
        sender.send_to_service("stuck", "work", {"n": number})

    def is_found_out() -> bool:
        gateway.round()
        return bool(gateway.instance("stuck")["state"] == "DOWN")

    eventually(is_found_out, 60, "the worker counts as wedged")
    found = gateway.instance("stuck")
    assert found["wedged"] == "takes no messages, though some wait and handlers are free"
    assert found["heard"] == "UP"

    gateway.control("probe_consume", takes=True)
    journal = installation.journal("stuck")
    eventually(lambda: len(journal.lines(event="handled")) == 3)

    def is_well() -> bool:
        gateway.round()
        found = gateway.instance("stuck")
        return bool(found["state"] == "UP" and '"answered"' in found["last"])

    eventually(is_well, 60, "the worker counts as well again")


@pytest.mark.embedded_only
def test_a_worker_that_has_all_hands_full_with_a_backlog_behind_is_neither_wedged_nor_dead(
    installation: Installation, gateway: Gateway
) -> None:
    installation.start_worker("busy", concurrency=2)
    eventually(lambda: gateway.instance("busy"), what="registered")
    sender = installation.communicator()
    for _ in range(2):
        sender.send_to_service("busy", "work", {"seconds": 45})
    journal = installation.journal("busy")
    eventually(lambda: len(journal.lines(event="begun")) == 2)
    for _ in range(20):
        sender.send_to_service("busy", "work", {})

    for _ in range(3):
        gateway.round()
        found = gateway.instance("busy")
        assert (found["state"], found["wedged"]) == ("UP", "")
        assert '"busy: 2 of 2 handlers running"' in found["last"]
    assert len(journal.lines(event="handled")) == 0
