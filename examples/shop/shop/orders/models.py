"""What orders keeps."""

from django.db import models


class Order(models.Model):
    """An order and how far it is."""

    class State(models.TextChoices):
        """From top to bottom, but for the last: that may follow on the first two."""

        PLACED = "placed"
        RESERVED = "reserved"
        CONFIRMED = "confirmed"
        CANCELLED = "cancelled"

    number = models.CharField(max_length=40, primary_key=True)
    email = models.CharField(max_length=200)
    sku = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField()
    #: Of all pieces, at the price of the moment.
    cents = models.PositiveIntegerField()
    state = models.CharField(max_length=20, choices=State.choices, default=State.PLACED)
    #: Why it was cancelled.
    reason = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"{self.number}: {self.state}"
