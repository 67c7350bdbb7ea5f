"""Pages that show rows."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from gateway_app.models import ServiceInstance
from gateway_app.registry import registry_status
from messaging.envelope import utc_now


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg] # not a generic class at run time
    """Shows rows and lets nobody change them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may; the page is shown all the same."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False


class RegistryPage(ReadOnly):
    """Shows rows of the registry; above them, why they should be read with care."""

    change_list_template = "gateway_app/registry_change_list.html"
    change_form_template = "gateway_app/registry_change_form.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list."""
        return super().changelist_view(request, _with_warning(extra_context))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one row."""
        extra_context = _with_warning(extra_context)
        return super().changeform_view(request, object_id, form_url, extra_context)


def _with_warning(context: dict[str, Any] | None) -> dict[str, Any]:
    status = registry_status.row().first()
    present = ServiceInstance.objects.filter(left_at=None)
    looked_at = registry_status.looked_at(status, present.order_by("registered_at")[:1])
    warning = registry_status.warning(status, utc_now(), looked_at=looked_at)
    return {**(context or {}), "registry_warning": warning}
