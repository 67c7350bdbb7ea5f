"""Dead letters as services park them."""

from datetime import datetime
from typing import Any

from gateway_app import deadletters
from gateway_app.models import DeadLetter
from messaging import codec, deadletter
from messaging.deadletter import DeadLetterReason
from messaging.envelope import MessageKind
from messaging.models import InboxMessage, OutboxMessage
from tests.unit.test_codec import an_envelope

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/messaging/attempts.py", line 90, in run_round
    answer = call(message)
  File "/srv/app/billing/{file}", line {line}, in apply_vat
    return rates["vat_rate"]
KeyError: 'vat_rate'
"""


def park(
    message_id: str,
    *,
    at: datetime | None = None,
    error: str = "KeyError: 'vat_rate'",
    file: str = "tax.py",
    line: int = 88,
    service: str = "billing",
    message_type: str = "invoice.create",
    generation: int = 0,
    **changes: Any,
) -> DeadLetter:
    envelope = an_envelope(
        id=message_id,
        type=message_type,
        kind=MessageKind.COMMAND,
        generation=generation,
        target=service,
        reply_to=None,
        data={"invoice": 1},
    )
    values: dict[str, Any] = {
        "reason": DeadLetterReason.ATTEMPTS_EXHAUSTED,
        "traceback": TRACEBACK.format(file=file, line=line),
        "service_version": "2.3.1",
        "envelope": codec.to_mapping(envelope),
        **changes,
    }
    deadletters.park(
        deadletter.DeadLetter(message_id=message_id, service=service, error=error, **values)
    )
    rows = DeadLetter.objects.filter(message_id=message_id, service=service)
    if at is not None:
        rows.filter(generation=generation).update(parked_at=at)
    return rows.get(generation=generation)


def end(row: OutboxMessage, state: str, error: str = "") -> None:
    """Have a replayed message end as its service would put it on record here."""
    InboxMessage.objects.update_or_create(
        message_id=row.message_id,
        service=row.target,
        defaults={
            "generation": row.generation,
            "created_at": row.created_at,
            "state": state,
            "due_at": row.due_at if state == "waiting" else None,
            "last_error": error,
        },
    )
