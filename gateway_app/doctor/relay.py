"""The relay: what is due in outbox and inbox is being sent."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.db.models import Min

from gateway_app import traps
from gateway_app.doctor.finding import Finding, fine, trapped
from gateway_app.ops import figures
from messaging.envelope import utc_now
from messaging.models import InboxMessage, OutboxMessage

#: What is due for longer is not being relayed.
LATE_AFTER: Final = timedelta(seconds=60)


def look() -> Iterator[Finding]:
    """Yield whether anything is late."""
    yield _late("Outbox", OutboxMessage)
    yield _late("Inbox", InboxMessage)


def _late(name: str, table: type[OutboxMessage] | type[InboxMessage]) -> Finding:
    now = utc_now()
    due_at = table.objects.filter(due_at__lte=now).aggregate(at=Min("due_at"))["at"]
    if due_at is None:
        return fine(name, "nothing is late")
    text = f"the oldest is due for {figures.duration_text((now - due_at).total_seconds())}"
    return trapped(name, traps.LATE, text) if now - due_at > LATE_AFTER else fine(name, text)
