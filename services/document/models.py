"""What document-service keeps."""

from typing import ClassVar

from django.db import models

from services.document.limits import MAX_TITLE_LENGTH, MAX_URL_LENGTH


class Document(models.Model):
    """A text and where it came from."""

    url = models.CharField(max_length=MAX_URL_LENGTH)
    title = models.CharField(max_length=MAX_TITLE_LENGTH)
    text = models.TextField()
    #: Hash of URL and text: what makes two documents the same one.
    fingerprint = models.CharField(max_length=64, unique=True)
    user_id = models.PositiveBigIntegerField(null=True)
    stored_at = models.DateTimeField()
    #: None: the others have not been told about it yet.
    announced_at = models.DateTimeField(null=True)
    last_viewed_at = models.DateTimeField(null=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.title} ({self.url})"
