"""The registry in the admin: who is there, what they offer, who acts."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest

from gateway_app.admin.actions import OperatedPage
from gateway_app.admin.read_only import ReadOnly, RegistryPage
from gateway_app.models import (
    HandledType,
    Lease,
    RegistryStatus,
    Route,
    Service,
    ServiceInstance,
    best_of,
)
from gateway_app.models import Subscription as SubscriptionRow
from gateway_app.registry import forgetting
from messaging.envelope import utc_now


@admin.register(Service)
class ServiceAdmin(OperatedPage):
    """Services. Whether one is tracked can be changed; all else is what it says of itself."""

    actions = (*OperatedPage.actions, "forget")
    list_display = (
        "name",
        "state",
        "version",
        "tracked",
        "maintenance_until",
        "returned_at",
        "last_health_at",
    )
    list_filter = ("tracked",)
    search_fields = ("name",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether this user may change `Service.tracked`."""
        return self.has_operate_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return every field but the one that can be changed."""
        return [field.name for field in Service._meta.fields if field.name != "tracked"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Service]:
        """Return the services with the instances that are there."""
        present = Prefetch("instances", ServiceInstance.objects.filter(left_at=None))
        return super().get_queryset(request).prefetch_related(present)

    def save_model(self, request: HttpRequest, obj: Service, form: Any, change: bool) -> None:
        """Say whether a service is tracked, and leave its other columns, which may be newer."""
        actor = request.user.get_username()
        forgetting.track(obj, obj.tracked, actor=actor, now=utc_now())

    @admin.display(description="state")
    def state(self, service: Service) -> str:
        """Return the state of the best instance, as it is on record."""
        return best_of([instance.state for instance in service.instances.all()])

    @admin.action(description="Forget: it will not come back", permissions=["forget"])
    def forget(self, request: HttpRequest, queryset: QuerySet[Service]) -> None:
        """Remove what is selected, has no instances and is not tracked."""

        def forget(service: Service, actor: str, now: datetime) -> None:
            forgetting.forget_service(service, actor=actor, now=now)

        self.do(request, queryset, forget, "forgotten")


@admin.register(ServiceInstance)
class ServiceInstanceAdmin(OperatedPage):
    """Instances, those that have left included."""

    actions = (*OperatedPage.actions, "forget")
    list_display = (
        "service",
        "state",
        "host",
        "port",
        "instance_id",
        "version",
        "last_seen_at",
        "maintenance_until",
        "left_at",
    )
    list_filter = (
        "state",
        "service",
    )
    list_select_related = ("service",)
    search_fields = (
        "service__name",
        "host",
        "instance_id",
    )

    @admin.action(description="Forget: it is dead", permissions=["forget"])
    def forget(self, request: HttpRequest, queryset: QuerySet[ServiceInstance]) -> None:
        """Remove what is selected and DOWN."""

        def forget(instance: ServiceInstance, actor: str, now: datetime) -> None:
            forgetting.forget_instance(instance, actor=actor, now=now)

        self.do(request, queryset, forget, "forgotten")


@admin.register(Route)
class RouteAdmin(RegistryPage):
    """HTTP routes."""

    list_display = (
        "method",
        "path",
        "service",
        "message",
        "options_json",
    )
    list_filter = (
        "service",
        "method",
    )
    list_select_related = ("service",)
    search_fields = (
        "path",
        "message",
    )


@admin.register(HandledType)
class HandledTypeAdmin(RegistryPage):
    """What services handle, each with the JSON Schema of its data."""

    list_display = (
        "type",
        "service",
        "has_schema",
    )
    list_filter = ("service",)
    list_select_related = ("service",)
    search_fields = ("type",)

    @admin.display(description="schema", boolean=True)
    def has_schema(self, handled: HandledType) -> bool:
        """Return whether the service published one."""
        return bool(handled.schema_json)


@admin.register(SubscriptionRow)
class SubscriptionAdmin(RegistryPage):
    """Who wants which broadcasts."""

    list_display = (
        "pattern",
        "service",
    )
    list_filter = ("service",)
    list_select_related = ("service",)
    search_fields = ("pattern",)


@admin.register(RegistryStatus)
class RegistryStatusAdmin(RegistryPage):
    """The registry itself."""

    list_display = (
        "revision",
        "swept_at",
        "mass_silence_since",
        "round_at",
        "round_seconds",
        "round_services",
    )


@admin.register(Lease)
class LeaseAdmin(ReadOnly):
    """Who has which role."""

    list_display = (
        "role",
        "holder",
        "expires_at",
    )
