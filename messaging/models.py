"""Messages that wait in this database until a relay publishes them."""

from typing import ClassVar

from django.db import models


class OutboxMessage(models.Model):
    """A message due later, or one the broker could not take. Gone once it is published."""

    message_id = models.CharField(max_length=200)
    #: The service to get it; empty for broadcasts.
    target = models.CharField(max_length=100, blank=True)
    #: Of the envelope. A retry is another row than the attempt whose row may still be on its way.
    attempt = models.PositiveIntegerField(default=1)
    generation = models.PositiveIntegerField(default=0)
    source = models.CharField(max_length=100)
    type = models.CharField(max_length=200)
    priority = models.CharField(max_length=8)
    #: The Celery task body that carries the envelope, ready to be published.
    envelope = models.TextField()
    created_at = models.DateTimeField()
    #: A relay publishes it from then on. Moved ahead while a relay is at it: the row's lease.
    due_at = models.DateTimeField(db_index=True)
    #: Failed tries to publish it.
    failures = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)

    class Meta:
        """Unique by what identifies one copy."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["message_id", "target", "generation", "attempt"],
                name="messaging_outbox_identity",
            )
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.target or 'all'} ({self.message_id})"
