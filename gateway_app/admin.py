"""The admin: everything the gateway and the outbox keep, to look at.

Nothing can be changed here: the rules for these rows live in `registry` and `deadletters`.
"""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from gateway_app.models import DeadLetter, HealthRecord, Route, Service, ServiceInstance
from gateway_app.models import Subscription as SubscriptionRow
from messaging.models import InboxMessage, OutboxMessage


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg] # not a generic class at run time
    """Shows rows and lets nobody change them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody may; the page is shown all the same."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody may."""
        return False


@admin.register(Service)
class ServiceAdmin(ReadOnly):
    """Services."""

    list_display = (
        "name",
        "version",
        "tracked",
        "last_health_at",
    )
    search_fields = ("name",)


@admin.register(ServiceInstance)
class ServiceInstanceAdmin(ReadOnly):
    """Instances, those that have left included."""

    list_display = (
        "service",
        "state",
        "host",
        "port",
        "version",
        "last_seen_at",
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


@admin.register(Route)
class RouteAdmin(ReadOnly):
    """HTTP routes."""

    list_display = (
        "method",
        "path",
        "service",
        "message",
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


@admin.register(SubscriptionRow)
class SubscriptionAdmin(ReadOnly):
    """Who wants which broadcasts."""

    list_display = (
        "pattern",
        "service",
    )
    list_filter = ("service",)
    list_select_related = ("service",)
    search_fields = ("pattern",)


@admin.register(HealthRecord)
class HealthRecordAdmin(ReadOnly):
    """Transitions, newest first."""

    list_display = (
        "at",
        "service",
        "previous_state",
        "state",
        "cause",
    )
    list_filter = (
        "state",
        "service",
    )
    list_select_related = ("service",)
    search_fields = (
        "cause",
        "service__name",
    )
    date_hierarchy = "at"


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly):
    """Messages that were given up, newest first."""

    list_display = (
        "parked_at",
        "service",
        "type",
        "reason",
        "attempts",
        "state",
        "error",
    )
    list_filter = (
        "state",
        "reason",
        "service",
        "priority",
    )
    search_fields = (
        "message_id",
        "type",
        "error",
    )
    date_hierarchy = "parked_at"


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnly):
    """Messages that this database answers for, newest first."""

    list_display = (
        "created_at",
        "type",
        "target",
        "priority",
        "state",
        "due_at",
        "publishes",
        "last_error",
    )
    list_filter = (
        "state",
        "priority",
        "target",
    )
    ordering = ("-pk",)
    exclude = ("envelope",)
    search_fields = (
        "message_id",
        "type",
    )


@admin.register(InboxMessage)
class InboxMessageAdmin(ReadOnly):
    """Messages that services have on record, newest first."""

    list_display = (
        "begun_at",
        "type",
        "service",
        "source",
        "priority",
        "state",
        "attempts",
        "due_at",
        "last_error",
    )
    list_filter = (
        "state",
        "priority",
        "service",
    )
    search_fields = (
        "message_id",
        "type",
    )
    ordering = ("-pk",)
    exclude = ("envelope",)
