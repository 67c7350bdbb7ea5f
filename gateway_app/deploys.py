"""When a service began to run in another version: what else has changed is held against it."""

from datetime import datetime
from typing import Final, NamedTuple

from gateway_app import audit
from gateway_app.models import AuditRecord

ACTION: Final = "version"
#: Who says so on record: nobody did it by hand.
ACTOR: Final = "registry"


class Deploy(NamedTuple):
    """A service has another version from an instant on."""

    at: datetime
    service: str
    #: From which version to which one, text for people.
    versions: str


def note(service: str, before: str, after: str) -> None:
    """Put a change of version on record, in the caller's transaction."""
    audit.record(ACTION, actor=ACTOR, service=service, detail=f"{before} → {after}")


def between(began_at: datetime, ended_at: datetime, service: str, most: int) -> list[Deploy]:
    """Return the last deploys between two instants, the newest first.

    Args:
        began_at: from this instant on,
        ended_at: up to this one.
        service: of this one; empty: of all.
        most: so many at most.
    """
    found = AuditRecord.objects.filter(action=ACTION, at__gte=began_at, at__lte=ended_at)
    if service:
        found = found.filter(service=service)
    return [Deploy(row.at, row.service, row.detail) for row in found.order_by("-at")[:most]]
