import json
from datetime import timedelta
from typing import Any

import pytest

from gateway_app import registry
from gateway_app.models import HealthRecord, Route, Service, ServiceInstance
from gateway_app.registry import registry_status
from gateway_app.registry.registrations import InvalidRegistration, Registration
from gateway_app.registry.snapshot import snapshot
from messaging.envelope import utc_now

pytestmark = pytest.mark.django_db
NOW = utc_now()
FAILING = json.dumps({"database": {"ok": False, "text": "connection refused"}})
ROUTE = {"path": "/api/x", "methods": ["GET"], "message": "x"}


def after(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


def a_registration(name: str = "user-service", instance: str = "i1", **more: Any) -> Registration:
    return Registration.from_json({"name": name, "id": instance, "version": "1.0", **more})


def register(name: str = "user-service", instance: str = "i1", at: Any = NOW, **more: Any) -> Any:
    return registry.register(a_registration(name, instance, **more), said_at=at, now=at)


def states() -> list[str]:
    records = HealthRecord.objects.exclude(instance_id="").order_by("pk")
    return [f"{record.previous_state or 'new'}>{record.state}" for record in records]


def revision() -> int:
    return registry_status.load().revision


def an_instance(instance: str = "i1") -> ServiceInstance:
    return ServiceInstance.objects.get(instance_id=instance)


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


def test_an_id_belongs_to_one_service() -> None:
    register("first", "i1")
    with pytest.raises(InvalidRegistration, match="another service"):
        register("second", "i1")
    with pytest.raises(InvalidRegistration, match="another service"):
        registry.deregister("second", "i1", said_at=after(1), now=after(1))
    assert not Service.objects.filter(name="second").exists()
    assert an_instance().left_at is None


def test_a_registration_that_repeats_what_is_known_changes_no_revision() -> None:
    offered: dict[str, Any] = {
        "routes": [ROUTE],
        "handles": ["a"],
        "schemas": {"a": {"type": "object"}},
    }
    register(**offered)
    before = revision()
    register(**offered, at=after(5))
    registry.announce("i1", after(6))
    assert revision() == before
    service = Service.objects.get()
    assert service.revision == before


@pytest.mark.parametrize(
    "change",
    [
        {"instance": "i2"},
        {"host": "elsewhere"},
        {"port": 81},
        {"routes": [{**ROUTE, "timeout": 5}]},
        {"routes": []},
        {"handles": ["a", "b"]},
        {"schemas": {"a": {"type": "array"}}},
    ],
    ids=str,
)
def test_a_registration_that_says_something_else_raises_the_revision(change: Any) -> None:
    offered: dict[str, Any] = {"host": "h", "port": 80, "routes": [ROUTE], "handles": ["a"]}
    register(**offered)
    register("other", "o1")
    before = revision()
    register(**{**offered, **change})
    assert revision() > before
    assert Service.objects.get(name="user-service").revision == revision()


def test_a_new_address_has_no_failed_probes() -> None:
    register(host="h", port=80, healthEndpoint="/health")
    registry.note_findings([registry.Finding("i1", probe_error="HTTP 503")], NOW)
    register(host="h", port=80, healthEndpoint="/health")
    assert an_instance().probe_failures == 1
    register(host="h", port=81, healthEndpoint="/health")
    assert (an_instance().probe_failures, an_instance().probe_error) == (0, "")


def test_a_route_of_another_service_is_refused_with_the_reason() -> None:
    assert register("first", "i1", routes=[ROUTE]).refused == ()
    (refused,) = register("second", "i2", routes=[ROUTE]).refused
    assert "first" in refused.reason
    assert [len(service["routes"]) for service in snapshot()] == [1, 0]


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"priority": "URGENT"}, "priority"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 10**400}, ""),
        ({"rate": "many"}, "rate"),
        ({"rate": -1}, "rate"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"max_body_bytes": True}, "max_body_bytes"),
        ({"path": "/api/openapi.json"}, "gateway"),
        ({"path": "/api/\ud800"}, "segment"),
    ],
    ids=str,
)
def test_a_wrong_option_refuses_its_route_alone(option: dict[str, Any], reason: str) -> None:
    good = {"path": "/api/y", "methods": ["POST"], "message": "y"}
    (refused,) = register(routes=[{**ROUTE, **option}, good]).refused
    assert reason in refused.reason
    assert [route.path for route in Route.objects.all()] == ["/api/y"]


def test_options_of_a_route_are_kept_and_shown_under_the_names_they_came_with() -> None:
    options = {"priority": "HIGH", "timeout": 2.5, "rate": 0, "concurrency": 3}
    assert not register(routes=[{**ROUTE, **options, "max_body_bytes": None}]).refused
    assert Route.objects.get().options == options
    assert snapshot()[0]["routes"] == [{**ROUTE, **options}]


def test_what_a_service_offers_is_what_it_said_last_and_outlives_its_instances() -> None:
    register(handles=["a", "b"], subscriptions=["x.*"], schemas={"a": {"type": "object"}})
    register(handles=["b"], subscriptions=["y.#"], schemas={"b": {"type": "array"}})
    registry.deregister("user-service", "i1", said_at=after(1), now=after(1))
    (service,) = snapshot()
    assert (service["handles"], service["subscriptions"]) == (["b"], ["y.#"])
    assert service["schemas"] == {"b": {"type": "array"}}


def test_a_service_is_down_when_it_is_known_and_nobody_serves() -> None:
    now = utc_now()
    registry.sweep(now)
    assert not registry.is_down("user-service")
    register(at=now)
    assert not registry.is_down("user-service")
    registry.deregister("user-service", "i1", said_at=now, now=now)
    assert registry.is_down("user-service")
    ServiceInstance.objects.all().delete()
    assert registry.is_down("user-service")


@pytest.mark.parametrize("swept", [None, 16, -16])
def test_who_does_not_look_does_not_call_anybody_down(swept: float | None) -> None:
    now = utc_now()
    registry.deregister("user-service", "i1", said_at=now, now=now)
    if swept is not None:
        registry.sweep(now - timedelta(seconds=swept))
    assert not registry.is_down("user-service")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"name": "a.b", "id": "1"},
        {"name": "a"},
        {"name": "a", "id": "1", "port": "x"},
        {"name": "a", "id": "1", "metadata": ["x"]},
        {"name": "a", "id": "1", "metadata": {"x": float("nan")}},
        {"name": "a", "id": "1", "schemas": {"no type!": {}}},
        {"name": "a", "id": "1", "schemas": {"a": "text"}},
    ],
)
def test_what_is_no_registration_is_refused(data: Any) -> None:
    with pytest.raises(InvalidRegistration):
        Registration.from_json(data)
