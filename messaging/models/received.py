"""What a service was given, its attempts that failed, and how far back it remembers."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from messaging.models.columns import ID_LENGTH, SERVICE_LENGTH, TYPE_LENGTH, due_until_the_end


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
    ordering_key = models.CharField(max_length=ID_LENGTH, blank=True)
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
    #: Of the service there; empty: not known.
    version = models.CharField(max_length=100, blank=True)
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
            due_until_the_end(UNENDED, "messaging_inbox_due_until_the_end"),
            models.UniqueConstraint(
                fields=["service", "ordering_key"],
                condition=Q(state=InboxState.RUNNING, ordering_key__gt=""),
                name="messaging_inbox_one_at_a_time",
            ),
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


class SeenRequest(models.Model):
    """A signed request that was begun, kept until it has expired; see `custody.seen`."""

    message_id = models.CharField(max_length=ID_LENGTH)
    service = models.CharField(max_length=SERVICE_LENGTH)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        """One for a request and a service."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["message_id", "service"], name="messaging_seen_request"
            )
        ]

    def __str__(self) -> str:
        return f"{self.message_id} at {self.service}"


class FailedRound(models.Model):
    """Attempts of a message that failed, one after the other in the same process.

    What becomes of the message is in its `InboxMessage`; this is for people who ask why.
    """

    message_id = models.CharField(max_length=ID_LENGTH)
    service = models.CharField(max_length=SERVICE_LENGTH)
    generation = models.PositiveIntegerField(default=0)
    #: Numbers of the first and the last attempt.
    first = models.PositiveIntegerField()
    last = models.PositiveIntegerField()
    ended_at = models.DateTimeField(db_index=True)
    #: Attempts allowed at most, by the policy that held; empty: without end, or not known.
    most = models.PositiveIntegerField(null=True)
    #: The run whose process died; empty: the handler itself failed. Then ``first`` counts deaths.
    died_run = models.CharField(max_length=16, blank=True)
    #: That the last attempt took; empty: not known.
    seconds = models.FloatField(null=True)
    #: ``host/boot/pid/start`` of the process.
    owner = models.CharField(max_length=200)
    version = models.CharField(max_length=100, blank=True)
    error = models.TextField()
    traceback = models.TextField(blank=True)

    class Meta:
        """Read by message."""

        indexes: ClassVar = [
            models.Index(fields=["message_id", "service"], name="messaging_failed_message")
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["message_id", "service", "died_run"],
                condition=~Q(died_run=""),
                name="messaging_failed_death_once",
            )
        ]

    def __str__(self) -> str:
        return f"attempts {self.first} to {self.last} of {self.message_id}: {self.error}"


class DedupHorizon(models.Model):
    """How far back the inbox has forgotten: what was said before cannot be proved new.

    What is CRITICAL or under custody is remembered longer than all else.
    """

    service = models.CharField(max_length=SERVICE_LENGTH)
    source = models.CharField(max_length=SERVICE_LENGTH)
    #: Of anything; a row changes its class when it is replayed.
    purged_upto = models.DateTimeField()
    #: Of what is CRITICAL or under custody; empty: nothing of that yet.
    custody_purged_upto = models.DateTimeField(null=True)

    class Meta:
        """One for each pair."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "source"], name="messaging_horizon")
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.service}: {self.purged_upto}"
