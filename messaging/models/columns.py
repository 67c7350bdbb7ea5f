"""What columns of several tables have in common."""

from django.db import models
from django.db.models import Q

#: Longest message type, service name and message id; see `messaging.envelope`.
TYPE_LENGTH = 200
SERVICE_LENGTH = 100
ID_LENGTH = 200


def due_until_the_end(open_states: tuple[str, ...], name: str) -> models.CheckConstraint:
    """Return the constraint that ``due_at`` is empty unless a row is in one of these states."""
    return models.CheckConstraint(
        condition=Q(state__in=open_states, due_at__isnull=False)
        | (~Q(state__in=open_states) & Q(due_at__isnull=True)),
        name=name,
    )
