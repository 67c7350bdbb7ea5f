"""Messages that are sent again and again."""

import json
from typing import Any, ClassVar

from django.db import models

from messaging.envelope import MessagePriority
from messaging.recurrence import Recurrence


class RecurringMessage(models.Model):
    """One message that recurs, and when it is due next. Fields as `Recurrence` has them."""

    #: The service that declares it; empty: people do, here.
    service = models.CharField(max_length=100, blank=True, editable=False)
    name = models.CharField(max_length=100)
    type = models.CharField(max_length=200)
    #: Empty: it is broadcast.
    target = models.CharField(max_length=100, blank=True)
    #: JSON text.
    data_json = models.TextField(default="{}")
    priority = models.CharField(
        max_length=8,
        choices=[(each.value, each.value) for each in MessagePriority],
        default=MessagePriority.NORMAL.value,
    )
    every_seconds = models.FloatField(null=True, blank=True)
    cron = models.CharField(max_length=100, blank=True)
    timezone = models.CharField(max_length=64, default="UTC")
    expires_in_seconds = models.FloatField(null=True, blank=True)
    overlaps = models.BooleanField(default=True)
    is_paused = models.BooleanField(default=False)
    #: Empty: it is paused.
    next_at = models.DateTimeField(null=True, editable=False)
    #: When the last one was due that was sent or left out.
    last_at = models.DateTimeField(null=True, editable=False)
    last_message_id = models.CharField(max_length=200, blank=True, editable=False)
    sent = models.PositiveIntegerField(default=0, editable=False)
    #: Left out because the one before was not at its end.
    left_out = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        """Looked for by when it is due, when nobody has seen to it."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "name"], name="gateway_recurring_name"),
        ]
        indexes: ClassVar = [models.Index(fields=["next_at"], name="gateway_recurring_next")]

    def __str__(self) -> str:
        return f"{self.service}/{self.name}" if self.service else self.name

    @property
    def recurrence(self) -> Recurrence:
        """What it says and when.

        Raises:
            ValueError: a field is wrong.
        """
        return Recurrence(
            name=self.name,
            type=self.type,
            to=self.target,
            data=json.loads(self.data_json),
            priority=MessagePriority(self.priority),
            every=self.every_seconds,
            cron=self.cron,
            timezone=self.timezone,
            expires_in=self.expires_in_seconds,
            overlaps=self.overlaps,
        )

    @property
    def when(self) -> str:
        """The rule, text for people."""
        if self.every_seconds:
            return f"every {self.every_seconds:g} s"
        return f"{self.cron} {self.timezone}"

    @staticmethod
    def columns_of(recurrence: Recurrence) -> dict[str, Any]:
        """Return what a row has of it, but for the name."""
        return {
            "type": recurrence.type,
            "target": recurrence.to,
            "data_json": json.dumps(recurrence.data, sort_keys=True),
            "priority": recurrence.priority.value,
            "every_seconds": recurrence.every,
            "cron": recurrence.cron,
            "timezone": recurrence.timezone,
            "expires_in_seconds": recurrence.expires_in,
            "overlaps": recurrence.overlaps,
        }
