"""The first minutes of an installation: what to do next, ticked as it is done."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway_app.bus import communicator
from gateway_app.models import HealthRecord
from gateway_app.ops import doctor, reads
from gateway_app.ops.paced import Paced
from gateway_app.ops.question import Question
from messaging.envelope import MessageKind

#: So long after the first service came, there is still to be seen that it did.
SHOWN_AFTER: Final = timedelta(seconds=60)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


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
    limit = asked.now - SHOWN_AFTER
    came_at = [one.registered_at for each in others for one in each.instances]
    # One that is quiet for long has no record left.
    if others and min(came_at, default=_LONG_AGO) < limit:
        return {"is_first_run": False}
    # An old installation may have been started anew as a whole. Read also before there is a
    # service, so that it is known when the first one comes.
    known = _first_record_at.get()
    if others and (known is None or (known.value or asked.now) < limit):
        return {"is_first_run": False}
    return {
        "is_first_run": True,
        "came": others[0].service.name if others else "",
        "has_answered": bool(others) and _has_answered(asked),
        **asked.once(doctor.checks),
    }


def _has_answered(asked: Question) -> bool:
    """Return whether a service other than the gateway has handled a request."""
    return any(
        edge.kind == MessageKind.REQUEST and edge.target != communicator.name and deliveries.count
        for edge, deliveries in asked.once(reads.flowing).edges.items()
    )
