"""What user-service keeps."""

from typing import ClassVar

from django.db import models


class User(models.Model):
    """A user. Its id is given by whoever creates users, so it is not counted here."""

    id = models.PositiveBigIntegerField(primary_key=True)
    name = models.CharField(max_length=200)
    email = models.EmailField()
    country = models.CharField(max_length=2)

    def __str__(self) -> str:
        return f"{self.name} ({self.pk})"


class Activity(models.Model):
    """An event about a document."""

    #: Unique, so that a second delivery of the event adds nothing.
    message_id = models.CharField(max_length=200, unique=True)
    type = models.CharField(max_length=200)
    #: Not a foreign key: events may name users that this service does not know yet.
    user_id = models.PositiveBigIntegerField(null=True, db_index=True)
    data = models.JSONField(null=True)
    #: When the event was said.
    at = models.DateTimeField(db_index=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar = ["-at", "-id"]
        verbose_name_plural = "activities"

    def __str__(self) -> str:
        return f"{self.type} ({self.message_id})"
