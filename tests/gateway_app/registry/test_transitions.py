"""What follows from a new state, and who is first where many find it at once."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from gateway_app import held, registry
from gateway_app.models import HealthRecord, Service, ServiceInstance
from gateway_app.registry import registry_status
from gateway_app.registry.transitions import Step, take_all
from messaging.events import service_state_changed
from tests.gateway_app.registry.test_registry import (
    NOW,
    after,
    an_instance,
    register,
    revision,
    states,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What the signal said, in order."""
    heard: list[Any] = []

    def receive(sender: str, **said: Any) -> None:
        assert not connection.in_atomic_block, "told before it was on record"
        heard.append((sender, said["instance_id"], said["previous_state"], said["state"]))

    service_state_changed.connect(receive)
    yield heard
    service_state_changed.disconnect(receive)


@pytest.fixture
def let_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Services for which what was held went out."""
    names: list[str] = []
    monkeypatch.setattr(held, "let_out", lambda service, *_: names.append(service))
    return names


def together(*works: Callable[[], Any]) -> list[Any]:
    """Run works at the same time, each on a thread and connection of its own."""
    start, results = threading.Barrier(len(works)), []

    def run(work: Callable[[], Any]) -> None:
        start.wait()
        try:
            results.append(work())
        except Exception as exc:
            results.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_every_transition_is_told_once_it_is_on_record(told: list[Any]) -> None:
    register()
    registry.sweep(after(16))
    registry.announce("i1", after(17))
    registry.deregister("user-service", "i1", said_at=after(18), now=after(18))
    assert told == [
        ("user-service", "i1", "", "UP"),
        ("user-service", "i1", "UP", "SUSPECT"),
        ("user-service", "i1", "SUSPECT", "UP"),
        ("user-service", "i1", "UP", "DOWN"),
    ]


def test_what_is_rolled_back_is_not_told(told: list[Any], let_out: list[str]) -> None:
    with transaction.atomic():
        register()
        transaction.set_rollback(True)
    assert (told, let_out, states()) == ([], [], [])


def test_a_service_returns_when_an_instance_serves_after_none_did(let_out: list[str]) -> None:
    register(instance="i1", at=NOW)
    register(instance="i2", at=after(1))
    for instance in ("i1", "i2"):
        registry.deregister("user-service", instance, said_at=after(2), now=after(2))
    register(instance="i3", at=after(3))
    assert let_out == ["user-service", "user-service"]
    assert Service.objects.get().returned_at == after(3)


def test_trouble_with_what_was_held_leaves_the_registration_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> int:
        raise OperationalError("no disk")

    monkeypatch.setattr(held, "let_out", fail)
    register()
    assert an_instance().state == "UP"
    assert "no disk" in caplog.text


def test_two_who_find_the_same_instance_silent_record_it_once(told: list[Any]) -> None:
    register()
    as_read = an_instance()
    step = Step(as_read, "", {"heard": "SUSPECT"})
    results = together(*[lambda: len(take_all([step], after(16)))] * 4)
    assert sorted(results) == [0, 1, 1, 1]
    assert states() == ["new>UP", "UP>SUSPECT"]
    assert told[-1] == ("user-service", "i1", "UP", "SUSPECT")


def test_a_heartbeat_in_between_keeps_an_instance_from_going_down() -> None:
    register()
    step = Step(an_instance(), "", {"heard": "SUSPECT"})
    registry.announce("i1", after(15))
    assert take_all([step], after(16)) == [step]
    assert an_instance().state == "UP"


def test_workers_that_handle_the_same_messages_leave_what_one_would() -> None:
    def messages() -> None:
        register(handles=["a"], routes=[{"path": "/api/x", "message": "a"}])
        registry.announce("i1", after(5))
        registry.sweep(after(6))
        registry.note_findings([registry.Finding("i1", wedged="takes no messages")], after(7))
        registry.deregister("user-service", "i1", said_at=after(8), now=after(8))

    assert together(*[messages] * 4) == [None] * 4
    assert states() == ["new>UP", "UP>DOWN", "DOWN>DOWN"]
    assert ServiceInstance.objects.get().left_at == after(8)


def test_services_that_claim_one_route_at_once_get_it_one_of_them() -> None:
    def claim(service: str, path: str) -> Callable[[], Any]:
        route = {"path": path, "message": "x"}
        return lambda: len(register(service, service, routes=[route]).refused)

    # One shape, so that the database itself would take both.
    claims = [claim(f"s{number}", f"/api/{{n{number}}}") for number in range(4)]
    assert sorted(together(*claims)) == [0, 1, 1, 1]


def test_revisions_count_every_change_of_those_who_change_things_at_once() -> None:
    together(*[lambda n=number: register(f"s{n}", f"i{n}") for number in range(6)])
    assert sorted(Service.objects.values_list("revision", flat=True)) == [1, 2, 3, 4, 5, 6]
    assert revision() == 6
    assert registry_status.row().count() == 1


def test_failures_of_two_rounds_at_once_are_all_counted() -> None:
    register()
    finding = registry.Finding("i1", probe_error="HTTP 503")
    together(*[lambda: registry.note_findings([finding], after(1))] * 4)
    assert an_instance().probe_failures == 4
    assert HealthRecord.objects.filter(state="DOWN").count() == 1
