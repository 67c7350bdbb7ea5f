"""Messages that were given up, and what operators did."""

import json
from typing import Any, ClassVar

from django.db import models

from messaging.deadletter import DeadLetterReason


class DeadLetterState(models.TextChoices):
    """What has become of a dead letter."""

    PARKED = "parked"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class DeadLetter(models.Model):
    """A message that a service gave up, with everything needed to understand and replay it."""

    message_id = models.CharField(max_length=200)
    #: Who gave it up.
    service = models.CharField(max_length=100, db_index=True)
    #: Of the envelope: 0, and 1 more with each replay.
    generation = models.PositiveIntegerField(default=0)
    #: Type, source and priority are empty where the body was no envelope.
    type = models.CharField(max_length=200, blank=True, db_index=True)
    source = models.CharField(max_length=100, blank=True)
    priority = models.CharField(max_length=8, blank=True)
    reason = models.CharField(
        max_length=20, choices=[(reason.value, reason.value) for reason in DeadLetterReason]
    )
    #: Text for people.
    error = models.TextField(blank=True)
    traceback = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0)
    service_version = models.CharField(max_length=100, blank=True)
    #: The envelope as JSON text.
    envelope_json = models.TextField(blank=True)
    #: What came, byte for byte, where it was no envelope.
    raw_body = models.BinaryField(null=True, blank=True)
    #: Content type and headers of such a body, as JSON text.
    raw_headers_json = models.TextField(blank=True)
    #: Whether nobody can tell that its effect is not there already; replaying it needs force.
    may_have_been_handled = models.BooleanField(default=False)
    parked_at = models.DateTimeField()
    state = models.CharField(max_length=9, choices=DeadLetterState, default=DeadLetterState.PARKED)
    #: When an operator last changed the state; None: never.
    moved_at = models.DateTimeField(null=True, blank=True)
    #: Id of the message that was sent instead, with other data; empty: none was.
    edited_as = models.CharField(max_length=200, blank=True)
    #: What those with the same cause have in common, as hex; see `fingerprints`.
    fingerprint = models.CharField(max_length=16, blank=True)
    #: What a group of these is called: the first line of the error.
    title = models.CharField(max_length=200, blank=True)
    #: Innermost frame of the service's own code, ``billing/tax.py in apply_vat``.
    frame = models.CharField(max_length=200, blank=True)

    class Meta:
        """One per message, service and generation: parking is safe to repeat."""

        ordering: ClassVar = ["-parked_at", "-pk"]
        indexes: ClassVar = [
            # All that is counted, by group and by state: the rows themselves are long.
            models.Index(
                fields=["fingerprint", "state", "parked_at", "service_version"],
                name="gateway_dead_letter_group",
            ),
            models.Index(fields=["parked_at", "state"], name="gateway_dead_letter_parked"),
            models.Index(
                fields=["state", "service", "reason"], name="gateway_dead_letter_counted"
            ),
            models.Index(
                fields=["moved_at"],
                condition=models.Q(state=DeadLetterState.DISCARDED),
                name="gateway_dead_letter_discarded",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["message_id", "service", "generation"], name="gateway_dead_letter_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.type or 'unreadable'} ({self.message_id}): {self.reason}"

    @property
    def envelope(self) -> dict[str, Any] | None:
        """The envelope; None where the body was none."""
        return json.loads(self.envelope_json) if self.envelope_json else None

    @property
    def raw_headers(self) -> dict[str, Any] | None:
        """Content type and headers of a body that was no envelope."""
        return json.loads(self.raw_headers_json) if self.raw_headers_json else None


class ParkedTotal(models.Model):
    """How many dead letters of a service have come for one reason. Only ever grows."""

    service = models.CharField(max_length=100)
    reason = models.CharField(max_length=20)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        """Once for each service and reason."""

        ordering: ClassVar = ["service", "reason"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "reason"], name="gateway_parked_total_once")
        ]

    def __str__(self) -> str:
        return f"{self.service} {self.reason}: {self.count}"


class DeadLetterNote(models.Model):
    """What people say about a group of dead letters, and who looks after it."""

    fingerprint = models.CharField(max_length=16, unique=True)
    owner = models.CharField(max_length=100, blank=True)
    note = models.TextField(blank=True)

    class Meta:
        """By fingerprint."""

        ordering: ClassVar = ["fingerprint"]

    def __str__(self) -> str:
        return f"{self.owner or 'nobody'}: {self.note}"


class AuditRecord(models.Model):
    """Who did what to messages and services, and when. Written in the transaction that does it."""

    at = models.DateTimeField(db_index=True)
    #: A user of the admin, or ``command:`` and the user of the host.
    actor = models.CharField(max_length=200)
    #: ``replay``, ``discard``, ``restore``, ``edit``, ``note``, ``run``, ``canary``, ``stop``;
    #: ``resolve``, ``reopen``; ``maintenance``, ``track``, ``forget``, ``check``;
    #: ``token``, ``revoke``.
    action = models.CharField(max_length=20)
    #: Empty: it is about the service, or one instance of it.
    message_id = models.CharField(max_length=200, db_index=True)
    service = models.CharField(max_length=100)
    #: Text for people.
    detail = models.TextField(blank=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.message_id or self.detail} at {self.service}"
