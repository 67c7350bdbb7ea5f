"""What payments keeps."""

from django.db import models


class Payment(models.Model):
    """What became of the money of one order."""

    class State(models.TextChoices):
        """All but the first are ends; only what was captured may still be refunded."""

        DUE = "due"
        CAPTURED = "captured"
        REFUSED = "refused"
        REFUNDED = "refunded"
        CALLED_OFF = "called off"

    #: One for each order, whatever comes twice.
    order = models.CharField(max_length=40, primary_key=True)
    cents = models.PositiveIntegerField()
    card = models.CharField(max_length=100)
    state = models.CharField(max_length=20, choices=State.choices)

    def __str__(self) -> str:
        return f"{self.order}: {self.cents} cents {self.state}"
