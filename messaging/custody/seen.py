"""Requests that were begun, remembered until they have expired: a signed one is handled once."""

from datetime import datetime
from typing import Final

from django.db import IntegrityError

from messaging.database_threads import write_transaction
from messaging.envelope import Envelope
from messaging.forking import without_fork
from messaging.models import SeenRequest

#: A signed request has to expire within this: it is remembered as long.
MOST_SECONDS: Final = 86_400.0


@without_fork
def is_new(envelope: Envelope, service: str) -> bool:
    """Note that a service begins with a request; return False if it has begun with it before.

    Args:
        envelope: a request that expires.
        service: whose handler is about to run.

    Raises:
        DatabaseError: nothing is noted; the broker must keep the message.
    """
    assert envelope.expires_at is not None
    try:
        with write_transaction(to_disk=False):
            SeenRequest.objects.create(
                message_id=envelope.id, service=service, expires_at=envelope.expires_at
            )
    except IntegrityError:
        return False
    return True


def forget(until: datetime, most: int) -> int:
    """Delete those that expired before an instant, at most so many; return how many went."""
    ids = list(
        SeenRequest.objects.filter(expires_at__lt=until).values_list("pk", flat=True)[:most]
    )
    return SeenRequest.objects.filter(pk__in=ids).delete()[0]
