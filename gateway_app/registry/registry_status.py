"""What the registry knows of itself: whether anybody looks, and whether it is to be believed."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from gateway_app.models import RegistryStatus, ServiceInstance
from gateway_app.registry.wording import duration_text, instant_text
from messaging.apps import configured

#: Primary key of the one row.
ROW: Final = 1


def row() -> QuerySet[RegistryStatus]:
    """Return the one row, to be updated in one statement; empty before the first `load`."""
    return RegistryStatus.objects.filter(pk=ROW)


def load() -> RegistryStatus:
    """Return the one row, made if it is missing."""
    return RegistryStatus.objects.get_or_create(pk=ROW)[0]


def is_stale(looked_at: datetime | None, now: datetime) -> bool:
    """Return whether what the registry says is too old to be believed.

    Args:
        looked_at: when somebody last looked for silent instances; None: nobody ever has. An
            instant in the future is one of a clock that has jumped back, and says nothing.
        now: the present.
    """
    limit = timedelta(seconds=configured().suspect_seconds)
    return looked_at is None or abs(now - looked_at) > limit


def looked_at(
    status: RegistryStatus | None, instances: Iterable[ServiceInstance]
) -> datetime | None:
    """Return since when nobody has looked; None: nobody has, and there was nobody to look for.

    Args:
        status: the row, if there is one.
        instances: those that are shown. Before the first look it is the first registration that
            counts: nobody can have missed anything earlier.
    """
    if status is not None and status.swept_at is not None:
        return status.swept_at
    return min((instance.registered_at for instance in instances), default=None)


def warning(status: RegistryStatus | None, now: datetime, *, looked_at: datetime | None) -> str:
    """Return why the registry should be read with care, one line for people; empty if nothing is.

    Args:
        status: the row, if there is one.
        now: the present.
        looked_at: as `looked_at` returns it.
    """
    if looked_at is not None and is_stale(looked_at, now):
        age = duration_text(abs(now - looked_at).total_seconds())
        return (
            f"Nobody has looked for silent instances since {instant_text(looked_at, now)} "
            f"({age} ago), so no state is known: start the gateway's worker and beat "
            "(celery -A gateway_app worker, celery -A gateway_app beat)."
        )
    if status is not None and status.mass_silence_since is not None:
        return (
            "Most instances are silent at once since "
            f"{instant_text(status.mass_silence_since, now)}; "
            "the registry keeps them and suspects itself or the broker."
        )
    return ""
