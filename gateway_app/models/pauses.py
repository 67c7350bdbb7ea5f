"""Services whose workers take no messages, because an operator wants it so."""

from typing import ClassVar

from django.db import models

from gateway_app.models.registry import Service


class QueuePause(models.Model):
    """One service that is paused, or will be once its queue is empty. Gone when it is resumed."""

    service = models.OneToOneField(Service, models.CASCADE, related_name="pause")
    #: Whether its workers go on until nothing waits any more.
    is_draining = models.BooleanField(default=False)
    since = models.DateTimeField()
    #: A user of the admin, or ``command:`` and the user of the host.
    actor = models.CharField(max_length=200)
    #: Text for people.
    reason = models.CharField(max_length=200)

    class Meta:
        """By service."""

        ordering: ClassVar = ["service__name"]

    def __str__(self) -> str:
        return f"{self.service.name} {'drains' if self.is_draining else 'is paused'}"
