"""Messages that recur, in the admin: made, changed, paused, ended and sent at once."""

import json
import uuid
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway_app import audit
from gateway_app.admin.outcomes import do_each
from gateway_app.models import RecurringMessage, ServiceInstance
from gateway_app.recurring import sending
from messaging.database_threads import write_transaction
from messaging.envelope import utc_now

#: What a service declares, it alone changes; pausing is for people.
_OF_PEOPLE: Final = ("is_paused",)


class RecurringForm(forms.ModelForm):  # type: ignore[type-arg] # not a generic class at run time
    """What recurs, checked as a whole."""

    class Meta:
        """In the order in which it is said."""

        model = RecurringMessage
        fields = (
            *("name", "type", "target", "data_json", "priority"),
            *("every_seconds", "cron", "timezone", "expires_in_seconds", "overlaps", "is_paused"),
        )
        labels: ClassVar = {"data_json": "Data", "every_seconds": "Every"}
        help_texts: ClassVar = {
            "target": "The service it is sent to. Empty: it is broadcast.",
            "data_json": "A JSON value, the same each time.",
            "every_seconds": "Seconds, counted from 1970 in UTC: 3600 is at each full hour.",
            "cron": "Or five fields of cron: minute, hour, day, month, day of the week.",
            "timezone": "Whose clock cron means, such as Europe/Berlin.",
            "expires_in_seconds": "Nobody handles one later than this. Empty: never too late.",
            "overlaps": "Off: one is left out while the one before is not at its end.",
        }

    def clean_data_json(self) -> str:
        """Return the data, which must be JSON."""
        text = str(self.cleaned_data["data_json"])
        try:
            json.loads(text)
        except ValueError as exc:
            raise forms.ValidationError(f"not JSON: {exc}") from exc
        return text

    def clean(self) -> dict[str, Any]:
        """Check what belongs together."""
        super().clean()
        values = {**self.cleaned_data}
        if self.instance.pk is None and _is_taken(values.get("name")):
            raise forms.ValidationError("Another one has this name.")
        if not self.errors and "type" in values:
            try:
                _ = RecurringMessage(**values).recurrence
            except ValueError as exc:
                raise forms.ValidationError(str(exc)) from exc
        return values


def _is_taken(name: Any) -> bool:
    return RecurringMessage.objects.filter(service="", name=name).exists()


def _is_there(service: str) -> bool:
    return ServiceInstance.objects.filter(service__name=service, left_at=None).exists()


@admin.register(RecurringMessage)
class RecurringMessageAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Messages that recur, the next one first."""

    form = RecurringForm
    actions = ("pause", "resume", "send_now")
    list_display = (
        *("__str__", "type", "target", "when", "next_at", "last_at", "sent", "left_out"),
        "is_paused",
    )
    list_filter = ("service", "is_paused")
    search_fields = ("name", "type")
    ordering = ("is_paused", "next_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return all that is known of one, and what a service has declared."""
        told = ("service", "next_at", "last_at", "last_message_id", "sent", "left_out")
        if obj is None:
            return ()
        declared = tuple(each for each in RecurringForm.Meta.fields if each not in _OF_PEOPLE)
        return (*(declared if obj.service else ()), *told)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is asked, and below it what is known."""
        return (*RecurringForm.Meta.fields, *self._told(request, obj))

    def _told(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        known = self.get_readonly_fields(request, obj)
        return tuple(name for name in known if name not in RecurringForm.Meta.fields)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form: of what a service declares, whether it is paused and no more."""
        if obj is not None and obj.service:
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether this user may end it: not what a service declares that is there."""
        may = super().has_delete_permission(request, obj)
        return may and not (obj is not None and obj.service and _is_there(obj.service))

    def save_model(
        self, request: HttpRequest, obj: RecurringMessage, form: Any, change: bool
    ) -> None:
        """Save it and plan the next one, in one transaction."""
        with write_transaction():
            # What workers count meanwhile is theirs.
            obj.save(update_fields=list(form.fields) if change else None)
            sending.set_next(obj, utc_now())
            self._note(request, obj, "changed" if change else "made")

    def delete_model(self, request: HttpRequest, obj: RecurringMessage) -> None:
        """End it."""
        with write_transaction():
            self._note(request, obj, "ended")
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[RecurringMessage]) -> None:
        """End those that may be ended."""
        for row in queryset:
            if self.has_delete_permission(request, row):
                self.delete_model(request, row)

    @admin.display(description="when")
    def when(self, row: RecurringMessage) -> str:
        """Return the rule."""
        return row.when

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[RecurringMessage]) -> None:
        """Have none sent until it is resumed."""
        self._set_paused(request, queryset, is_paused=True)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[RecurringMessage]) -> None:
        """Have them sent again, from the next one that is due."""
        self._set_paused(request, queryset, is_paused=False)

    @admin.action(description="Send one now, besides", permissions=["change"])
    def send_now(self, request: HttpRequest, queryset: QuerySet[RecurringMessage]) -> None:
        """Send one of each at once; what is due later stays due."""

        def send(row: RecurringMessage) -> bool:
            with write_transaction():
                sending.send(row, f"now {uuid.uuid4()}")
                self._note(request, row, "sent at once")
            return True

        do_each(self, request, queryset, send, "sent")

    def _set_paused(
        self, request: HttpRequest, queryset: QuerySet[RecurringMessage], *, is_paused: bool
    ) -> None:
        word = "paused" if is_paused else "resumed"

        def change(row: RecurringMessage) -> bool:
            if row.is_paused == is_paused:
                return False
            with write_transaction():
                row.is_paused = is_paused
                row.save(update_fields=["is_paused"])
                sending.set_next(row, utc_now())
                self._note(request, row, word)
            return True

        do_each(self, request, queryset, change, word)

    @staticmethod
    def _note(request: HttpRequest, row: RecurringMessage, how: str) -> None:
        audit.record(
            "recurring",
            actor=request.user.get_username(),
            service=row.target,
            detail=f"{row}: {how}",
        )
