"""The first minutes of an installation: what to do next, ticked as it is done."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway_app.bus import communicator
from gateway_app.models import HealthRecord
from gateway_app.ops import doctor, reads
from gateway_app.ops.paced import Paced
from gateway_app.ops.question import Question
from gateway_app.registry.snapshot import ServiceView
from messaging.envelope import MessageKind

#: So long after the first service came, there is still to be seen that it did.
SHOWN_AFTER: Final = timedelta(seconds=60)


def _read_first_record() -> datetime | None:
    others = HealthRecord.objects.exclude(service__name=communicator.name)
    return others.order_by("at").values_list("at", flat=True).first()


_first_record_at: Final = Paced(_read_first_record, 1.0)


def steps(asked: Question) -> dict[str, Any]:
    """Return what has been done of the first steps, while they are the first.

    They are until a service has been known for `SHOWN_AFTER`.
    """
    others = [
        each
        for each in asked.once(reads.registry).services
        if each.service.name != communicator.name
    ]
    # Read also before it is needed, so that it is known when the first service comes.
    known = _first_record_at.get()
    if others and (known is None or not _is_new(asked, known.value, others)):
        return {"is_first_run": False}
    return {
        "is_first_run": True,
        "came": others[0].service.name if others else "",
        "has_answered": bool(others) and _has_answered(asked),
        **asked.once(doctor.checks),
    }


def _is_new(asked: Question, first_record_at: datetime | None, others: list[ServiceView]) -> bool:
    """Return whether the first of all services came a moment ago.

    One that is quiet for long has no record left, and an old installation may have been started
    anew as a whole: both are asked, records and instances.
    """
    came_at = [one.registered_at for each in others for one in each.instances]
    if first_record_at is not None:
        came_at.append(first_record_at)
    return min(came_at, default=datetime.min.replace(tzinfo=UTC)) >= asked.now - SHOWN_AFTER


def _has_answered(asked: Question) -> bool:
    """Return whether a service other than the gateway has handled a request."""
    return any(
        edge.kind == MessageKind.REQUEST and edge.target != communicator.name and deliveries.count
        for edge, deliveries in asked.once(reads.flowing).edges.items()
    )
