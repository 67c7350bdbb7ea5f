"""Who did what, put on record by whoever does it."""

from datetime import datetime

from gateway_app.models import AuditRecord
from messaging.envelope import utc_now


def record(
    action: str,
    *,
    actor: str,
    service: str,
    message_id: str = "",
    detail: str = "",
    at: datetime | None = None,
) -> None:
    """Write an audit record. Call it in the transaction that does what it says.

    Args:
        action: one word, see `AuditRecord.action`.
        actor: a user of the admin, or ``command:`` and the user of the host.
        service: what it was done to, or whose message.
        message_id: empty: it is about the service, or one instance of it.
        detail: text for people.
        at: when; None: now.
    """
    AuditRecord.objects.create(
        at=at or utc_now(),
        actor=actor,
        action=action,
        message_id=message_id,
        service=service,
        detail=detail,
    )
