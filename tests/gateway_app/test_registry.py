from datetime import timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from gateway_app import registry
from gateway_app.models import HealthRecord, ServiceInstance
from gateway_app.registrations import InvalidRegistration, Registration
from gateway_app.snapshot import snapshot
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db
NOW = utc_now()


def after(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


def a_registration(name: str = "user-service", instance: str = "i1", **more: Any) -> Registration:
    return Registration.from_json({"name": name, "id": instance, "version": "1.0", **more})


def register(name: str = "user-service", instance: str = "i1", **more: Any) -> Any:
    return registry.register(a_registration(name, instance, **more), said_at=NOW, now=NOW)


def states() -> list[str]:
    records = HealthRecord.objects.exclude(instance_id="").order_by("pk")
    return [f"{record.previous_state or 'new'}>{record.state}" for record in records]


def test_an_instance_that_falls_silent_is_suspect_then_down_then_gone_each_on_record() -> None:
    register()
    for seconds in (14, 15, 29, 30, 31, 599, 601):
        registry.sweep(after(seconds))
    assert states() == ["new>UP", "UP>SUSPECT", "SUSPECT>DOWN", "DOWN>UNKNOWN"]
    (service,) = snapshot()
    assert (service["state"], service["instances"]) == ("DOWN", [])


def test_one_heartbeat_brings_it_back() -> None:
    register()
    registry.sweep(after(16))
    assert registry.announce("i1", after(17)) is registry.Heard.KNOWN
    assert states()[-1] == "SUSPECT>UP"
    assert snapshot()[0]["state"] == "UP"


def test_a_heartbeat_is_one_update(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    register()
    with django_assert_num_queries(1):
        registry.announce("i1", after(5))


def test_a_late_heartbeat_or_registration_does_not_bring_back_who_said_goodbye() -> None:
    register()
    registry.deregister("user-service", "i1", said_at=after(5), now=after(5))
    assert registry.announce("i1", after(6)) is registry.Heard.LEFT
    assert register() is None
    assert snapshot()[0]["instances"] == []


def test_a_goodbye_handled_before_the_registration_counts() -> None:
    registry.deregister("user-service", "i1", said_at=after(1), now=after(1))
    assert register() is None
    assert snapshot()[0]["state"] == "DOWN"


def test_when_most_fall_silent_at_once_the_registry_keeps_them() -> None:
    for number in range(6):
        register(f"service-{number}", f"i{number}")
    for seconds in (20, 40, 60):
        registry.sweep(after(seconds))
    assert set(ServiceInstance.objects.values_list("state", flat=True)) == {"SUSPECT"}


def test_an_unknown_instance_is_asked_to_register() -> None:
    assert registry.announce("nobody", NOW) is registry.Heard.UNKNOWN


def test_a_route_of_another_service_is_refused_with_the_reason() -> None:
    route = {"path": "/api/x", "methods": ["GET"], "message": "x"}
    assert register("first", "i1", routes=[route]).refused == ()
    (refused,) = register("second", "i2", routes=[route]).refused
    assert "first" in refused.reason
    assert [len(service["routes"]) for service in snapshot()] == [1, 0]


def test_what_a_service_offers_is_what_it_said_last_and_outlives_its_instances() -> None:
    register(handles=["a", "b"], subscriptions=["x.*"])
    register(handles=["b"], subscriptions=["y.#"])
    registry.deregister("user-service", "i1", said_at=after(1), now=after(1))
    (service,) = snapshot()
    assert (service["handles"], service["subscriptions"]) == (["b"], ["y.#"])


def test_the_snapshot_takes_as_many_queries_for_30_services_as_for_3(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(30):
        register(f"s{number}", f"i{number}", handles=["a"], subscriptions=["b"])
    with django_assert_num_queries(5):
        assert len(snapshot()) == 30


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"name": "a.b", "id": "1"},
        {"name": "a"},
        {"name": "a", "id": "1", "port": "x"},
    ],
)
def test_what_is_no_registration_is_refused(data: Any) -> None:
    with pytest.raises(InvalidRegistration):
        Registration.from_json(data)
