from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from gateway_app import registry
from gateway_app.models import (
    AuditRecord,
    HandledType,
    HealthRecord,
    HealthSummary,
    Lease,
    RegistryStatus,
    Route,
    Service,
    ServiceInstance,
    Subscription,
)
from gateway_app.registry import registry_status
from messaging.envelope import utc_now
from tests.gateway_app.registry.test_registry import an_instance, register

pytestmark = pytest.mark.django_db
OFFERED: dict[str, Any] = {
    "routes": [{"path": "/api/x", "message": "x", "timeout": 5}],
    "handles": ["x"],
    "schemas": {"x": {"type": "object"}},
    "subscriptions": ["y.*"],
}


def page(model: type[Any], pk: Any = None) -> str:
    name = f"admin:gateway_app_{model._meta.model_name}"
    return reverse(f"{name}_changelist") if pk is None else reverse(f"{name}_change", args=[pk])


def a_client(*permissions: str) -> Client:
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, action: str, *rows: Any) -> str:
    """Run an action on the list of the rows' model; return the page that follows."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    response = client.post(page(type(rows[0])), data, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def audited() -> Iterable[tuple[str, str, str]]:
    rows = AuditRecord.objects.order_by("pk")
    return list(rows.values_list("actor", "action", "service"))


def test_every_page_of_the_registry_is_shown(admin_client: Client) -> None:
    now = utc_now()
    register(at=now, **OFFERED)
    registry.sweep(now)
    Lease.objects.create(role="beat", holder="me", expires_at=now)
    service = Service.objects.get()
    HealthSummary.objects.create(service=service, resolution="hour", at=now)
    for model in (
        Service,
        ServiceInstance,
        Route,
        HandledType,
        Subscription,
        HealthRecord,
        HealthSummary,
        RegistryStatus,
        Lease,
    ):
        row = model._default_manager.get()
        for url in (page(model), page(model, row.pk)):
            response = admin_client.get(url)
            assert response.status_code == 200
            assert "errornote" not in response.content.decode()


def test_a_banner_says_when_nobody_looks_and_when_most_are_silent(admin_client: Client) -> None:
    now = utc_now()
    registry.sweep(now)
    registry_status.row().update(mass_silence_since=now)
    assert "suspects itself" in admin_client.get(page(ServiceInstance)).content.decode()
    registry_status.row().update(swept_at=now - timedelta(minutes=5))
    for url in (page(Service), page(HealthRecord)):
        text = admin_client.get(url).content.decode()
        assert "Nobody has looked" in text
        assert "(5 min ago)" in text


def test_a_service_is_taken_out_and_back_in_by_who_may_change_it() -> None:
    client = a_client("view_service", "change_service")
    register(at=utc_now())
    service = Service.objects.get()
    assert "1 in maintenance" in act(client, "maintenance_1_h", service)
    until = an_instance().maintenance_until
    assert until is not None
    assert timedelta(minutes=59) < until - utc_now() <= timedelta(hours=1)
    act(client, "end_maintenance", service)
    assert an_instance().state == "UP"
    assert audited() == [("ann", "maintenance", "user-service")] * 2


@pytest.mark.parametrize("action", ["maintenance_15_min", "end_maintenance", "forget"])
def test_who_may_only_look_does_nothing(action: str) -> None:
    client = a_client("view_service", "view_serviceinstance")
    register(at=utc_now())
    for row in (Service.objects.get(), an_instance()):
        act(client, action, row)
    assert an_instance().state == "UP"
    assert audited() == []


def test_whether_a_service_is_tracked_is_all_that_can_be_edited() -> None:
    client = a_client("view_service", "change_service")
    register(at=utc_now())
    service = Service.objects.get()
    client.post(page(Service, service.pk), {"name": "other", "version": "9"})  # a box not ticked
    service.refresh_from_db()
    assert (service.name, service.version, service.tracked) == ("user-service", "1.0", False)
    assert audited() == [("ann", "track", "user-service")]


def test_what_is_there_is_not_forgotten_and_what_is_gone_is() -> None:
    now = utc_now()
    client = a_client(
        "view_service", "delete_service", "delete_serviceinstance", "view_serviceinstance"
    )
    register(at=now)
    Service.objects.update(tracked=False)
    service, instance = Service.objects.get(), an_instance()
    assert "has instances" in act(client, "forget", service)
    assert "is UP" in act(client, "forget", instance)
    ServiceInstance.objects.update(state="DOWN", heard="DOWN")
    assert "1 forgotten" in act(client, "forget", instance)
    assert "1 forgotten" in act(client, "forget", service)
    assert not Service.objects.exists()
    assert audited() == [("ann", "forget", "user-service")] * 2


def test_who_has_left_meanwhile_is_said_to_have() -> None:
    client = a_client("view_serviceinstance", "change_serviceinstance")
    register(at=utc_now())
    registry.deregister("user-service", "i1", said_at=utc_now(), now=utc_now())
    assert "not in the registry any more" in act(client, "maintenance_15_min", an_instance())
