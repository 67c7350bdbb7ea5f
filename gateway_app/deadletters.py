"""Keeping dead letters: of all services by message, of the gateway itself directly."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError
from django.db.models import Exists, OuterRef, QuerySet

from gateway_app import fingerprints, parked_totals
from gateway_app.models import DeadLetter, DeadLetterState
from gateway_app.removing import remove_oldest
from messaging import MessagingError, deadletter
from messaging.apps import configured
from messaging.database_threads import write_transaction
from messaging.envelope import utc_now
from messaging.forking import without_fork
from messaging.models import OutboxMessage
from messaging.parking import Parking
from messaging.text import storable


class DeadLetterNotStored(MessagingError):
    """The database did not take a dead letter. The message stays with its broker."""


class StoredParking(Parking):
    """Keeps the gateway's own dead letters in its database, without a way around over the bus."""

    def keep(self, letter: deadletter.DeadLetter) -> None:
        """Store a dead letter. Safe to repeat.

        Raises:
            DeadLetterNotStored: the message must not be acked.
        """
        try:
            park(letter)
        except DatabaseError as exc:
            raise DeadLetterNotStored(f"{letter.message_id}: {exc}") from exc


@without_fork
def park(letter: deadletter.DeadLetter) -> None:
    """Store a dead letter. Safe to repeat: one of the same message, service and generation stays.

    Raises:
        DatabaseError: not stored.
    """
    envelope = letter.envelope or {}
    group = fingerprints.of(letter)
    # Not "insert or ignore": SQLite would ignore every other fault of the row as well.
    with write_transaction():
        _, is_new = DeadLetter.objects.get_or_create(
            message_id=letter.message_id,
            service=letter.service,
            generation=envelope.get("generation", 0),
            defaults={
                "type": envelope.get("type", ""),
                "source": envelope.get("source", ""),
                "priority": envelope.get("priority", ""),
                "reason": letter.reason,
                "error": storable(letter.error),
                "traceback": storable(letter.traceback),
                "attempts": letter.attempts,
                "service_version": storable(letter.service_version),
                "envelope_json": _json(letter.envelope),
                "raw_body": letter.raw_body,
                "raw_headers_json": _json(letter.raw_headers),
                "may_have_been_handled": letter.may_have_been_handled,
                "parked_at": utc_now(),
                "fingerprint": group.fingerprint,
                "title": group.title,
                "frame": group.frame,
            },
        )
        if is_new:
            parked_totals.count(letter.service, letter.reason)


#: What can be asked for, as lookups.
FILTERS: Final = {
    "id": "message_id",
    "service": "service",
    "type": "type",
    "reason": "reason",
    "state": "state",
    "fingerprint": "fingerprint",
    "since": "parked_at__gte",
    "until": "parked_at__lt",
}


def find(wanted: Mapping[str, Any]) -> QuerySet[DeadLetter]:
    """Return the dead letters that match all of `FILTERS` that are given, oldest first."""
    given = {
        lookup: wanted[name] for name, lookup in FILTERS.items() if wanted.get(name) is not None
    }
    return DeadLetter.objects.filter(**given).order_by("parked_at", "pk")


def describe(letter: DeadLetter) -> dict[str, Any]:
    """Return one entry of ``bus_dead_letters --json``."""
    return {
        "id": letter.message_id,
        "type": letter.type,
        "source": letter.source,
        "service": letter.service,
        "priority": letter.priority,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "parked_at": letter.parked_at.isoformat(),
        "state": letter.state,
        "fingerprint": letter.fingerprint,
    }


def sweep(now: datetime) -> None:
    """Remove what was discarded more than ``retention_days`` ago. Safe to repeat.

    Not while its sender's record of it is here: the balance must add up.
    """
    sent = OutboxMessage.objects.filter(
        message_id=OuterRef("message_id"), target=OuterRef("service")
    )
    old = DeadLetter.objects.filter(
        ~Exists(sent),
        state=DeadLetterState.DISCARDED,
        moved_at__lt=now - timedelta(days=configured().retention_days),
    )
    remove_oldest(old.order_by("moved_at"))


def _json(mapping: Mapping[str, Any] | None) -> str:
    return "" if mapping is None else json.dumps(mapping)
