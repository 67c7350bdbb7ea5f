"""Health in the admin: transitions, and checks added up."""

from django.contrib import admin

from gateway_app.admin.read_only import RegistryPage
from gateway_app.models import HealthRecord, HealthSummary


@admin.register(HealthRecord)
class HealthRecordAdmin(RegistryPage):
    """Transitions, newest first."""

    list_display = (
        "at",
        "service",
        "instance_id",
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
        "instance_id",
    )
    date_hierarchy = "at"


@admin.register(HealthSummary)
class HealthSummaryAdmin(RegistryPage):
    """Health checks by minute and hour, newest first."""

    list_display = (
        "at",
        "service",
        "resolution",
        "checks",
        "failures",
        "seconds_max",
    )
    list_filter = (
        "resolution",
        "service",
    )
    list_select_related = ("service",)
    ordering = ("-at",)
    date_hierarchy = "at"
