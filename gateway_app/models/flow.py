"""What flows over the bus: what workers said they handled, and that added up."""

from typing import ClassVar

from django.db import models

from gateway_app.models.health import Resolution


class FlowSample(models.Model):
    """What one heartbeat said its worker had handled, by the second. Kept for an hour."""

    #: Who handled it.
    target = models.CharField(max_length=100)
    #: Of the heartbeat.
    message_id = models.CharField(max_length=200, unique=True)
    received_at = models.DateTimeField(db_index=True)
    #: As JSON text; see `flow.samples`.
    rows_json = models.TextField()
    #: Whether it is part of the summaries.
    is_added = models.BooleanField(default=False)

    class Meta:
        """In the order they came; those that are to be added have an index of their own."""

        ordering: ClassVar = ["pk"]
        indexes: ClassVar = [
            models.Index(
                fields=["id"], condition=models.Q(is_added=False), name="gateway_flow_to_add"
            )
        ]

    def __str__(self) -> str:
        return f"{self.target} at {self.received_at}"


class _Sums(models.Model):
    """Deliveries added up; see `flow.rows.Deliveries`."""

    count = models.PositiveBigIntegerField()
    #: Of them, those that were not handled: tried again later, or parked.
    failures = models.PositiveBigIntegerField(default=0)
    #: Histograms, as JSON text of pairs: from sent to begun, the time with the handler, and from
    #: sent to handled.
    waiting_json = models.TextField()
    handling_json = models.TextField()
    total_json = models.TextField()

    class Meta:
        """No table of its own."""

        abstract = True


class FlowSummary(_Sums):
    """Deliveries of one kind of message between two services, within a minute or an hour."""

    resolution = models.CharField(max_length=6, choices=Resolution)
    #: When the minute or hour begins.
    at = models.DateTimeField()
    #: Who sent it. Source and type are empty where a worker had too many to tell them apart.
    source = models.CharField(max_length=100, blank=True)
    target = models.CharField(max_length=100)
    type = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=8)
    priority = models.CharField(max_length=8)
    last_error = models.TextField(blank=True)

    class Meta:
        """Once for each minute or hour and kind of message; indexed by age, for reading too."""

        ordering: ClassVar = ["at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["resolution", "at", "target", "source", "type", "kind", "priority"],
                name="gateway_flow_summary_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.target} {self.type}: {self.count} in {self.at}"


class FlowOverall(_Sums):
    """Deliveries of one priority to all services within a minute or an hour."""

    resolution = models.CharField(max_length=6, choices=Resolution)
    #: When the minute or hour begins.
    at = models.DateTimeField()
    priority = models.CharField(max_length=8)

    class Meta:
        """Once for each minute or hour and priority; indexed by age, for reading too."""

        ordering: ClassVar = ["at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["resolution", "at", "priority"], name="gateway_flow_overall_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.priority}: {self.count} in {self.at}"


class FlowTotal(_Sums):
    """Deliveries of one priority to one service since there is a registry. Only ever grows."""

    service = models.CharField(max_length=100)
    priority = models.CharField(max_length=8)

    class Meta:
        """Once for each service and priority."""

        ordering: ClassVar = ["service", "priority"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "priority"], name="gateway_flow_total_once")
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.priority}: {self.count}"


class QueueLook(models.Model):
    """A moment at which it was looked what waits. Who is not named by one had nothing waiting."""

    at = models.DateTimeField(db_index=True)
    #: Whether it is part of its hour.
    is_added = models.BooleanField(default=False)

    class Meta:
        """Oldest first; those that are to be added have an index of their own."""

        ordering: ClassVar = ["at"]
        indexes: ClassVar = [
            models.Index(
                fields=["at"], condition=models.Q(is_added=False), name="gateway_look_to_add"
            )
        ]

    def __str__(self) -> str:
        return f"look of {self.at}"


class QueueDepth(models.Model):
    """What waited for one service when it was looked; see `messaging.depths`."""

    look = models.ForeignKey(QueueLook, models.CASCADE, related_name="depths")
    service = models.CharField(max_length=100)
    waiting = models.PositiveBigIntegerField()
    #: By priority, as JSON text; empty where the broker does not tell.
    by_priority_json = models.TextField(blank=True)
    #: Since the oldest was sent; None: the broker does not tell.
    oldest_seconds = models.FloatField(null=True)
    #: The same of each priority, as JSON text; empty where the broker does not tell.
    oldest_by_priority_json = models.TextField(blank=True)

    class Meta:
        """One for each service and look; read for a service, newest last."""

        ordering: ClassVar = ["look"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "look"], name="gateway_queue_depth_once")
        ]

    def __str__(self) -> str:
        return f"{self.service}: {self.waiting}"


class QueueHour(models.Model):
    """What waited for one service, or for all of them, within an hour in which somebody looked.

    Who is not named had nothing waiting at any look of it. An hour without any has no row.
    """

    #: Empty: all services together.
    service = models.CharField(max_length=100, blank=True)
    #: When the hour begins.
    at = models.DateTimeField()
    #: How often it was looked, whether anything waited or not.
    looks = models.PositiveIntegerField()
    #: Waiting messages at the look at which most waited, in the mean, and at the last look.
    most = models.PositiveBigIntegerField()
    mean = models.FloatField()
    last = models.PositiveBigIntegerField()
    #: When most waited: by priority, as JSON text; empty where the broker does not tell.
    by_priority_json = models.TextField(blank=True)
    #: The greatest age of the oldest; None: the broker does not tell, or nothing waited.
    oldest_seconds = models.FloatField(null=True)

    class Meta:
        """Once for each service and hour; indexed by age, for the sweep."""

        ordering: ClassVar = ["at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "at"], name="gateway_queue_hour_once")
        ]
        indexes: ClassVar = [models.Index(fields=["at"], name="gateway_queue_hour_age")]

    def __str__(self) -> str:
        return f"{self.service or 'all'}: {self.most} at most in {self.at}"
