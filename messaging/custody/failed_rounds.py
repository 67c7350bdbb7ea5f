"""Attempts that failed, put on record for people. Nothing depends on these rows."""

import traceback
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from messaging.custody import owner
from messaging.custody.runs import LEASE_SECONDS
from messaging.envelope import Envelope, utc_now
from messaging.models import FailedRound, InboxMessage
from messaging.text import storable

#: Of the text of an error, and of a traceback, whose end is kept.
MOST_ERROR: Final = 2_000
MOST_TRACEBACK: Final = 8_000
_MOST_VERSION: Final = 100
_DIED: Final = "its process died"
#: Of a process of another host: its lease tells, and nothing else.
_SILENT: Final = f"its process was not heard of for {LEASE_SECONDS:g} s"


def note(
    envelope: Envelope,
    service: str,
    *,
    attempts: int,
    tries: int,
    seconds: float,
    error: BaseException,
    version: str,
    most: int | None = None,
) -> None:
    """Put a round on record, in the caller's transaction: with what it has led to.

    Args:
        envelope: the message.
        service: whose handler failed.
        attempts: made before this round.
        tries: made in it.
        seconds: that the last one took.
        error: what the last one raised.
        version: of the service.
        most: attempts allowed at most; None: without end, or not known.
    """
    trace = storable("".join(traceback.format_exception(error)))
    FailedRound.objects.create(
        message_id=envelope.id,
        service=service,
        generation=envelope.generation,
        first=attempts + 1,
        last=attempts + tries,
        most=most,
        ended_at=utc_now(),
        seconds=seconds,
        owner=owner.this_process(),
        version=version_text(version),
        error=storable(f"{type(error).__name__}: {error}")[:MOST_ERROR],
        traceback=trace[-MOST_TRACEBACK:],
    )


def version_text(version: str) -> str:
    """Return a version as records keep it."""
    return storable(version)[:_MOST_VERSION]


def note_deaths(rows: Iterable[InboxMessage], most: int) -> None:
    """Put runs on record whose process is gone, each once however often it is noticed.

    In the caller's transaction, if there is one.

    Args:
        rows: as they were during the run.
        most: runs that may end so before the message is parked.
    """
    for row in rows:
        FailedRound.objects.get_or_create(
            message_id=row.message_id,
            service=row.service,
            died_run=row.run_token,
            defaults={
                "generation": row.generation,
                "first": row.unended_runs,
                "last": row.unended_runs,
                "most": most,
                "ended_at": utc_now(),
                "owner": row.owner,
                "version": row.version,
                "error": _DIED if owner.is_dead(row.owner) else _SILENT,
            },
        )


def forget(until: datetime, most: int) -> int:
    """Delete those that ended before an instant, at most so many; return how many went."""
    old = FailedRound.objects.filter(ended_at__lt=until).order_by("ended_at")
    ids = list(old.values_list("pk", flat=True)[:most])
    return FailedRound.objects.filter(pk__in=ids).delete()[0]
