"""What warehouse keeps."""

from django.db import models


class Stock(models.Model):
    """How much of a product may still be ordered."""

    sku = models.CharField(max_length=40, primary_key=True)
    available = models.PositiveIntegerField()
    #: All that ever came in: what is available, kept for orders and sent adds up to it.
    received = models.PositiveIntegerField()
    #: Somebody is told when there are no more than so many.
    low_mark = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.available} of {self.sku}"


class Reservation(models.Model):
    """What became of the goods of one order."""

    class State(models.TextChoices):
        """The last three are ends."""

        RESERVED = "reserved"
        SENT = "sent"
        RELEASED = "released"
        REFUSED = "refused"

    #: One for each order, whatever comes twice.
    order = models.CharField(max_length=40, primary_key=True)
    sku = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField()
    state = models.CharField(max_length=20, choices=State.choices)

    def __str__(self) -> str:
        return f"{self.order}: {self.quantity} of {self.sku} {self.state}"
