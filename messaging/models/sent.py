"""What a service has sent and answers for."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from messaging.models.columns import ID_LENGTH, SERVICE_LENGTH, TYPE_LENGTH, due_until_the_end


class OutboxState(models.TextChoices):
    """How far a sent message has come, as its sender knows."""

    #: Behind another one of its ordering key; see `custody.ordering`.
    QUEUED = "queued"
    #: Not on the broker yet.
    PENDING = "pending"
    #: The broker has confirmed it.
    PUBLISHED = "published"
    #: The receiver has it in its database.
    ACCEPTED = "accepted"
    HANDLED = "handled"
    #: A dead letter at the gateway.
    PARKED = "parked"
    EXPIRED = "expired"
    #: Ended by an operator.
    RESOLVED = "resolved"


#: Somebody has to act when it is due.
UNDER_WAY = (OutboxState.PENDING, OutboxState.PUBLISHED, OutboxState.ACCEPTED)
#: Not at its end.
OPEN = (OutboxState.QUEUED, *UNDER_WAY)


class OutboxMessage(models.Model):
    """A message this database answers for: one copy of it, for one service.

    Under custody it stays until the receiver has told the outcome, and ``retention_days`` longer.
    Otherwise (delayed, or the broker was away) it goes once the broker has it.
    """

    message_id = models.CharField(max_length=ID_LENGTH)
    #: The service that gets this copy; empty for a broadcast that is not under custody.
    target = models.CharField(max_length=SERVICE_LENGTH, blank=True)
    #: 0, and 1 more with each replay.
    generation = models.PositiveIntegerField(default=0)
    source = models.CharField(max_length=SERVICE_LENGTH)
    type = models.CharField(max_length=TYPE_LENGTH)
    kind = models.CharField(max_length=8)
    priority = models.CharField(max_length=8)
    #: `MessagePriority` as a number that sorts.
    urgency = models.PositiveSmallIntegerField()
    #: One at a time and in order is what has the same one and the same target; empty: as it comes.
    ordering_key = models.CharField(max_length=ID_LENGTH, blank=True)
    #: The message during whose handling this one was sent; empty: none.
    causation_id = models.CharField(max_length=ID_LENGTH, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    #: Body of the Celery task, ready to be published. Empty once it is too old to be replayed.
    envelope = models.TextField()
    #: Whether the receiver has to tell what became of it.
    under_custody = models.BooleanField()
    state = models.CharField(max_length=9, choices=OutboxState)
    due_at = models.DateTimeField(null=True)
    #: Since the broker last lost its contents; empty if not yet.
    first_published_at = models.DateTimeField(null=True)
    published_at = models.DateTimeField(null=True)
    publishes = models.PositiveIntegerField(default=0)
    #: Tries that the broker refused.
    failures = models.PositiveIntegerField(default=0)
    #: Since when it waits here for its target, which is down; see `custody.held`.
    held_at = models.DateTimeField(null=True)
    #: First word from the receiver.
    told_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    #: Text for people: why it is here, or what went wrong last.
    last_error = models.TextField(blank=True)
    #: Of its end, text for people.
    reason = models.TextField(blank=True)

    class Meta:
        """Unique by what identifies one copy; indexed by what relays and ledgers ask."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["message_id", "target", "generation"], name="messaging_outbox_copy"
            ),
            due_until_the_end(UNDER_WAY, "messaging_outbox_due_until_the_end"),
            models.UniqueConstraint(
                fields=["target", "ordering_key"],
                condition=Q(state__in=UNDER_WAY, ordering_key__gt=""),
                name="messaging_outbox_one_at_a_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["urgency", "due_at"],
                condition=Q(due_at__isnull=False),
                name="messaging_outbox_due",
            ),
            models.Index(
                fields=["target", "told_at"],
                condition=Q(told_at__isnull=False),
                name="messaging_outbox_progress",
            ),
            models.Index(
                fields=["settled_at"],
                condition=Q(settled_at__isnull=False),
                name="messaging_outbox_settled",
            ),
            models.Index(
                fields=["causation_id"],
                condition=Q(causation_id__gt=""),
                name="messaging_outbox_caused",
            ),
            models.Index(
                fields=["target", "ordering_key", "id"],
                condition=Q(state="queued"),
                name="messaging_outbox_queued",
            ),
            models.Index(
                fields=["target", "-urgency", "id"],
                condition=Q(held_at__isnull=False),
                name="messaging_outbox_held",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.target or 'all'} ({self.message_id})"
