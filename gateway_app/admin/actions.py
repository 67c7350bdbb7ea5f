"""What operators may do on the registry's pages: rules, called for each row that is selected."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway_app.admin.outcomes import Refused, do_each
from gateway_app.admin.read_only import RegistryPage
from gateway_app.registry.forgetting import NotForgotten
from gateway_app.registry.maintenance import end_maintenance, set_maintenance
from messaging.envelope import utc_now


class OperatedPage(RegistryPage):
    """A page whose rows can be put into maintenance by who may change them."""

    actions: tuple[str, ...] = (
        "maintenance_15_min",
        "maintenance_1_h",
        "maintenance_4_h",
        "end_maintenance",
    )

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may put rows into maintenance."""
        return self._may(request, "change")

    def has_forget_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may take rows out of the registry."""
        return self._may(request, "delete")

    @admin.action(description="Maintenance for 15 minutes", permissions=["operate"])
    def maintenance_15_min(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Take what is selected out for a quarter of an hour."""
        self._set_maintenance(request, queryset, timedelta(minutes=15))

    @admin.action(description="Maintenance for 1 hour", permissions=["operate"])
    def maintenance_1_h(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Take what is selected out for an hour."""
        self._set_maintenance(request, queryset, timedelta(hours=1))

    @admin.action(description="Maintenance for 4 hours", permissions=["operate"])
    def maintenance_4_h(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Take what is selected out for four hours."""
        self._set_maintenance(request, queryset, timedelta(hours=4))

    @admin.action(description="End maintenance", permissions=["operate"])
    def end_maintenance(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Take what is selected back in."""

        def end(row: Any, actor: str, now: datetime) -> None:
            end_maintenance(row, actor=actor, now=now)

        self.do(request, queryset, end, "in no maintenance any more")

    def do(
        self,
        request: HttpRequest,
        rows: Iterable[Any],
        act: Callable[[Any, str, datetime], None],
        outcome: str,
    ) -> None:
        """Apply a rule to each row, and tell the user of how many it was done and of which not."""

        def apply(row: Any) -> bool:
            try:
                act(row, request.user.get_username(), utc_now())
            except NotForgotten as exc:
                raise Refused(str(exc)) from exc
            except ObjectDoesNotExist as exc:
                raise Refused(f"{row} is not in the registry any more") from exc
            return True

        do_each(self, request, rows, apply, outcome)

    def _set_maintenance(
        self, request: HttpRequest, queryset: QuerySet[Any], length: timedelta
    ) -> None:
        def begin(row: Any, actor: str, now: datetime) -> None:
            set_maintenance(row, now + length, actor=actor, now=now)

        self.do(request, queryset, begin, "in maintenance")

    def _may(self, request: HttpRequest, action: str) -> bool:
        codename = get_permission_codename(action, self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")
