"""Sending from the ledger: critical messages once more, or broadcasts to a service that came late.

Harmless to repeat: what was handled is answered from memory, and one copy is one copy.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from gateway_app import audit
from gateway_app.bus import communicator
from messaging import codec
from messaging.envelope import Envelope, MessageKind, MessagePriority
from messaging.models import OutboxMessage, OutboxState


def critical(wanted: Mapping[str, Any], limit: int | None) -> list[Envelope]:
    """Return CRITICAL messages of the ledger, as replays: for a service that lost its database.

    A service that has handled them answers from memory.
    """
    newer = OutboxMessage.objects.filter(
        message_id=OuterRef("message_id"),
        target=OuterRef("target"),
        generation__gt=OuterRef("generation"),
    )
    rows = (
        _found(wanted)
        .filter(~Exists(newer), priority=MessagePriority.CRITICAL)
        .exclude(target=communicator.name)
        # Ended by an operator, or a dead letter, which is replayed as such.
        .exclude(state__in=(OutboxState.RESOLVED, OutboxState.PARKED))
    )
    return [
        codec.decode(row.envelope).replayed_to(row.target, custodian=communicator.name)
        for row in rows[:limit]
    ]


def broadcasts_for(service: str, wanted: Mapping[str, Any], limit: int | None) -> list[Envelope]:
    """Return the broadcasts under custody that a service has had no copy of."""
    had = OutboxMessage.objects.filter(message_id=OuterRef("message_id"), target=service)
    rows = _found(wanted).filter(~Exists(had), kind=MessageKind.EVENT, generation=0)
    found: dict[str, Envelope] = {}
    for row in rows:
        copy = codec.decode(row.envelope).for_subscriber(service, custodian=communicator.name)
        found.setdefault(row.message_id, copy)
    return list(found.values())[:limit]


def send_all(envelopes: list[Envelope], actor: str) -> Iterator[Envelope]:
    """Answer for each in a transaction of its own; yield it when that is done."""
    for envelope in envelopes:
        with transaction.atomic():
            communicator.bus.dispatch.send(envelope, delay=None, may_repeat=True)
            audit.record(
                "replay",
                actor=actor,
                service=envelope.target,
                message_id=envelope.id,
                detail=f"from the ledger, generation {envelope.generation}",
            )
        yield envelope


def _found(wanted: Mapping[str, Any]) -> Any:
    lookups = {
        "id": "message_id",
        "service": "target",
        "type": "type",
        "since": "created_at__gte",
        "until": "created_at__lt",
    }
    given = {lookups[name]: wanted[name] for name in lookups if wanted.get(name) is not None}
    return OutboxMessage.objects.filter(under_custody=True, **given).order_by("pk")
