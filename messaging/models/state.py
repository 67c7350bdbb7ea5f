"""What a database knows of the bus as a whole, and of whether its services take messages."""

import uuid

from django.db import models

from messaging.models.columns import SERVICE_LENGTH


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


class PausedService(models.Model):
    """A service whose workers take no messages: an operator wants it so. Gone once they may."""

    service = models.CharField(max_length=SERVICE_LENGTH, unique=True)
    at = models.DateTimeField()
    reason = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.service} is paused: {self.reason}"
