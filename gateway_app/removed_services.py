"""Messages kept for a service that is gone or renamed, or one of them: parked, or redirected."""

from django.db import transaction
from django.db.models import Q

from gateway_app import audit, deadletters
from gateway_app.bus import communicator
from gateway_app.models import SERVING, Service, ServiceInstance
from messaging import codec
from messaging.custody import operating
from messaging.deadletter import DeadLetter, DeadLetterReason
from messaging.models import OPEN, OutboxMessage


def is_known(service: str) -> bool:
    """Return whether a service has ever registered, or a message is kept for one of that name."""
    return (
        Service.objects.filter(name=service).exists()
        or OutboxMessage.objects.filter(target=service).exists()
    )


def is_up(service: str) -> bool:
    """Return whether a worker of it has been heard, as far as the registry knows.

    As it is on record, also where nobody has looked for long: it may well run.
    """
    present = ServiceInstance.objects.filter(service__name=service, left_at=None)
    return present.filter(heard__in=SERVING).exists()


def resolve(
    service: str, *, to: str | None, reason: str, actor: str, message_id: str | None = None
) -> int:
    """``open --> resolved`` for messages to a service, all or one; return how many.

    Each in a transaction of its own, together with its dead letter, or with its copy for the other
    service. Safe to repeat.

    Args:
        service: the target that is gone.
        to: the service that gets them instead; None: they become dead letters.
        reason: text for the record.
        actor: who wants it.
        message_id: only this one.
    """
    count = 0
    rows = OutboxMessage.objects.filter(target=service, state__in=OPEN).order_by("pk")
    if message_id is not None:
        rows = rows.filter(message_id=message_id)
    for row in rows:
        with transaction.atomic():
            if not operating.resolve(Q(pk=row.pk), f"{actor}: {reason}"):
                continue  # it came to its end meanwhile
            row.refresh_from_db(fields=["publishes"])  # since the list was read
            _hand_on(row, to, reason)
            audit.record(
                "resolve",
                actor=actor,
                service=service,
                message_id=row.message_id,
                detail=f"to {to}: {reason}" if to else reason,
            )
        count += 1
    return count


def _hand_on(row: OutboxMessage, to: str | None, reason: str) -> None:
    envelope = codec.decode(row.envelope)
    if to is not None:
        copy = envelope.for_subscriber(to, custodian=communicator.name)
        communicator.bus.dispatch.send(copy, delay=None, may_repeat=True)
        return
    deadletters.park(
        DeadLetter(
            message_id=row.message_id,
            service=row.target,
            reason=DeadLetterReason.REJECTED,
            error=f"resolved by an operator: {reason}",
            envelope=codec.to_mapping(envelope),
            # Published and not told of: it may have been handled under the old name.
            may_have_been_handled=row.publishes > 0,
        )
    )
