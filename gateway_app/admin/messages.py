"""Messages in the admin: dead letters, audit records, outbox and inbox.

Dead letters can be replayed and discarded by who may.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway_app import replays
from gateway_app.admin.outcomes import Refused, do_each
from gateway_app.admin.read_only import ReadOnly
from gateway_app.models import AuditRecord, DeadLetter, DeadLetterNote, ReplayRun
from gateway_app.ops.rights import Right
from messaging.models import FailedRound, InboxMessage, OutboxMessage


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly):
    """Messages that were given up, newest first."""

    actions = ("replay", "discard", "restore")
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
        "type",
    )
    search_fields = (
        "message_id",
        "type",
        "error",
    )
    date_hierarchy = "parked_at"

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Hide what messages say from who may not see it."""
        if request.user.has_perm(Right.PAYLOAD.value):
            return ()
        return ("envelope_json", "raw_body", "raw_headers_json", "traceback")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may replay and discard."""
        return request.user.has_perm(Right.OPERATE.value)

    @admin.action(description="Replay: have the service handle it again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Replay what is selected and parked."""

        def replay(letter: DeadLetter) -> bool:
            try:
                return replays.replay(letter, actor=request.user.get_username())
            except replays.NotReplayed as exc:
                raise Refused(str(exc)) from exc

        do_each(self, request, queryset.order_by("parked_at", "pk"), replay, "replayed")

    @admin.action(description="Discard: nobody will handle it", permissions=["replay"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Discard what is selected and parked."""

        def discard(letter: DeadLetter) -> bool:
            return replays.discard(letter, actor=request.user.get_username())

        do_each(self, request, queryset, discard, "discarded")

    @admin.action(description="Restore: park again what was discarded", permissions=["replay"])
    def restore(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Park again what is selected and discarded."""

        def restore(letter: DeadLetter) -> bool:
            return replays.restore(letter, actor=request.user.get_username())

        do_each(self, request, queryset, restore, "restored")


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnly):
    """Who did what, newest first."""

    list_display = (
        "at",
        "actor",
        "action",
        "service",
        "message_id",
        "detail",
    )
    list_filter = (
        "action",
        "actor",
        "service",
    )
    search_fields = ("message_id",)
    date_hierarchy = "at"


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
        "=ordering_key",
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
        "=ordering_key",
    )
    ordering = ("-pk",)
    exclude = ("envelope",)


@admin.register(FailedRound)
class FailedRoundAdmin(ReadOnly):
    """Attempts that failed, newest first."""

    list_display = (
        "ended_at",
        "service",
        "message_id",
        "first",
        "last",
        "version",
        "error",
    )
    list_filter = ("service",)
    search_fields = ("message_id",)
    ordering = ("-pk",)

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Hide what may hold what messages say from who may not see it."""
        return () if request.user.has_perm(Right.PAYLOAD.value) else ("traceback",)


@admin.register(ReplayRun)
class ReplayRunAdmin(ReadOnly):
    """Replays of many dead letters, newest first; begun and stopped on the operator pages."""

    list_display = (
        "pk",
        "state",
        "actor",
        "total",
        "handled",
        "parked_again",
        "to_go",
        "why",
    )
    list_filter = ("state", "canary")


@admin.register(DeadLetterNote)
class DeadLetterNoteAdmin(ReadOnly):
    """Who looks after which group of dead letters; changed on the operator pages."""

    list_display = ("fingerprint", "owner", "note")
    search_fields = ("fingerprint", "owner", "note")
