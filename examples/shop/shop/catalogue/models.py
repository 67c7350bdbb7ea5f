"""What catalogue keeps."""

from django.db import models


class Product(models.Model):
    """Something that is sold."""

    sku = models.CharField(max_length=40, primary_key=True)
    name = models.CharField(max_length=200)
    #: Of one piece.
    cents = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.name} ({self.sku})"
