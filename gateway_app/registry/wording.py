"""How instants and durations are written for people."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def duration_text(seconds: float) -> str:
    """Return a duration in the largest unit it has two of: ``90 s``, ``3 min``, ``2 d``."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def instant_text(instant: datetime, now: datetime) -> str:
    """Return an instant as a clock shows it, with its date where that is not today's."""
    instant = instant.astimezone(UTC)
    day = "" if instant.date() == now.astimezone(UTC).date() else f"{instant:%Y-%m-%d} "
    return f"{day}{instant:%H:%M:%S} UTC"
