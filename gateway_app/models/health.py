"""Transitions, and what health rounds find out."""

from typing import ClassVar

from django.db import models

from gateway_app.models.registry import Service
from gateway_app.models.states import State


class HealthRecord(models.Model):
    """A change of state and its cause. Outlives the instance it is about."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="health_records")
    #: Empty: a health round found this out about the service as a whole.
    instance_id = models.CharField(max_length=100, blank=True)
    #: Empty where nothing was known before.
    previous_state = models.CharField(max_length=11, choices=State, blank=True)
    state = models.CharField(max_length=11, choices=State)
    #: Text for people.
    cause = models.TextField()
    at = models.DateTimeField(db_index=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.previous_state or 'new'} → {self.state}: {self.cause}"


class Resolution(models.TextChoices):
    """How long one health summary covers."""

    MINUTE = "minute"
    HOUR = "hour"


class HealthSummary(models.Model):
    """The health checks of one service within one minute or hour, added up as they come."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="health_summaries")
    resolution = models.CharField(max_length=6, choices=Resolution)
    #: When the minute or hour begins.
    at = models.DateTimeField()
    #: By message and by HTTP.
    checks = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    #: Of the checks that were answered, in seconds.
    seconds_sum = models.FloatField(default=0.0)
    seconds_max = models.FloatField(default=0.0)

    class Meta:
        """Once per service, resolution and time; indexed by age, for the sweep."""

        verbose_name_plural = "health summaries"

        ordering: ClassVar = ["at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["service", "resolution", "at"], name="gateway_health_summary_once"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["resolution", "at"], name="gateway_health_age")]

    def __str__(self) -> str:
        return f"{self.failures} of {self.checks} failed in the {self.resolution} of {self.at}"


class LastLook(models.Model):
    """What the last health round saw of who takes messages; see `wedged`. One row."""

    looked_at = models.DateTimeField()
    #: By instance id, as JSON text.
    looks_json = models.TextField()

    def __str__(self) -> str:
        return f"look of {self.looked_at}"
