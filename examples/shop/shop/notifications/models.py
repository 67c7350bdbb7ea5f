"""What notifications keeps."""

from django.db import models


class Mail(models.Model):
    """An e-mail that is sent, or will be."""

    to = models.CharField(max_length=200)
    subject = models.CharField(max_length=200)
    #: None: it has not reached the mail server yet.
    sent_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.subject}, to {self.to}"
