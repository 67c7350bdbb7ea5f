"""What a service's database keeps of messages: sent, received, and how far back it remembers.

An instant in ``due_at`` says "somebody must look at this row then". It is the only timer there is,
and the lease of whoever is at work on the row. It is empty if and only if the row is at its end;
the database itself refuses anything else, so no row can be forgotten.
"""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

#: Longest message type, service name and message id; see `messaging.envelope`.
TYPE_LENGTH = 200
SERVICE_LENGTH = 100
ID_LENGTH = 200


class OutboxState(models.TextChoices):
    """How far a sent message has come, as its sender knows."""

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


#: Somebody still has to act.
OPEN = (OutboxState.PENDING, OutboxState.PUBLISHED, OutboxState.ACCEPTED)


def _due_until_the_end(open_states: tuple[str, ...], name: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        condition=Q(state__in=open_states, due_at__isnull=False)
        | (~Q(state__in=open_states) & Q(due_at__isnull=True)),
        name=name,
    )


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
            _due_until_the_end(OPEN, "messaging_outbox_due_until_the_end"),
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
                fields=["target", "-urgency", "id"],
                condition=Q(held_at__isnull=False),
                name="messaging_outbox_held",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.target or 'all'} ({self.message_id})"


class InboxState(models.TextChoices):
    """How far a received message has come."""

    #: Any delivery of it may run it.
    READY = "ready"
    #: Being handled.
    RUNNING = "running"
    #: Failed, and tried again later.
    WAITING = "waiting"
    HANDLED = "handled"
    PARKED = "parked"
    EXPIRED = "expired"


#: A handler may still run.
UNENDED = (InboxState.READY, InboxState.RUNNING, InboxState.WAITING)


class InboxMessage(models.Model):
    """A message one service was given: what makes a second copy of it harmless.

    It is also the schedule of its retries.
    """

    message_id = models.CharField(max_length=ID_LENGTH)
    #: The service it was delivered to.
    service = models.CharField(max_length=SERVICE_LENGTH)
    generation = models.PositiveIntegerField(default=0)
    source = models.CharField(max_length=SERVICE_LENGTH)
    #: Who waits for word of the outcome; empty: nobody.
    custodian = models.CharField(max_length=SERVICE_LENGTH, blank=True)
    type = models.CharField(max_length=TYPE_LENGTH)
    priority = models.CharField(max_length=8)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    #: Body of the Celery task. Empty while only the broker keeps the message, and long after.
    envelope = models.TextField(blank=True)
    state = models.CharField(max_length=7, choices=InboxState)
    #: ready: publish it again then; running: the run's lease ends; waiting: retry then.
    due_at = models.DateTimeField(null=True)
    #: Of the present run: proof that it still owns the row. Empty: no run.
    run_token = models.CharField(max_length=16, blank=True)
    #: ``host/boot/pid/start`` of the process of the present or last run.
    owner = models.CharField(max_length=200, blank=True)
    #: Attempts made.
    attempts = models.PositiveIntegerField(default=0)
    #: Runs begun that never ended: their process died.
    unended_runs = models.PositiveIntegerField(default=0)
    #: Whether the custodian has to be told (again).
    owes_receipt = models.BooleanField(default=False)
    #: Last publish to the own queue.
    published_at = models.DateTimeField(null=True)
    #: When the delivery that began the present run was sent.
    sent_at = models.DateTimeField(null=True)
    begun_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)
    #: Signal that killed the last run's process, where known.
    signal = models.CharField(max_length=40, blank=True)
    #: Copies made of a broadcast; the gateway's rows only.
    copies = models.PositiveIntegerField(null=True)

    class Meta:
        """One row for a message and a service, whatever is delivered how often."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["message_id", "service"], name="messaging_inbox_message"
            ),
            _due_until_the_end(UNENDED, "messaging_inbox_due_until_the_end"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="messaging_inbox_due"
            ),
            models.Index(
                fields=["id"], condition=Q(owes_receipt=True), name="messaging_inbox_owing"
            ),
            models.Index(
                fields=["owner"], condition=Q(state="running"), name="messaging_inbox_running"
            ),
            models.Index(
                fields=["finished_at"],
                condition=Q(finished_at__isnull=False),
                name="messaging_inbox_finished",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} at {self.service} ({self.message_id})"


def _new_id() -> str:
    return uuid.uuid4().hex


class BusState(models.Model):
    """What a whole database knows of the bus. One row, with id 1."""

    #: Tells databases apart: instances of one service must share theirs.
    database_id = models.CharField(max_length=32, default=_new_id)
    #: The present life of the broker's contents; names the marker queue. Empty: not marked yet.
    epoch = models.CharField(max_length=32, blank=True)

    def __str__(self) -> str:
        return f"database {self.database_id}"

    @classmethod
    def load(cls) -> "BusState":
        """Return the row, made if missing."""
        return cls.objects.get_or_create(pk=1)[0]


class DedupHorizon(models.Model):
    """How far back the inbox has forgotten: what was said before cannot be proved new."""

    service = models.CharField(max_length=SERVICE_LENGTH)
    source = models.CharField(max_length=SERVICE_LENGTH)
    purged_upto = models.DateTimeField()

    class Meta:
        """One for each pair."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "source"], name="messaging_horizon")
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.service}: {self.purged_upto}"
