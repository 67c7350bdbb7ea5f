"""Numbers, durations and instants as they are written on pages: short, with their unit."""

from datetime import datetime, timedelta
from typing import Final

#: Stands where there is no figure.
NOTHING: Final = "\N{EN DASH}"
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86400.0


def duration(seconds: float | None) -> tuple[str, str]:
    """Return a duration as its figure and its unit; a dash where there is none."""
    if seconds is None:
        return NOTHING, ""
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f}", "ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f}", "ms"
    if seconds < 10:
        return f"{seconds:.1f}", "s"
    if seconds < _MINUTE:
        return f"{seconds:.0f}", "s"
    if seconds < 10 * _MINUTE:
        minutes, rest = divmod(round(seconds), 60)
        return (f"{minutes}", "min") if not rest else (f"{minutes} min {rest}", "s")
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f}", "min"
    if seconds < _DAY:
        hours, rest = divmod(round(seconds / _MINUTE), 60)
        return (f"{hours}", "h") if not rest else (f"{hours} h {rest}", "min")
    return f"{seconds / _DAY:.0f}", "d"


def duration_text(seconds: float | None) -> str:
    """Return a duration as text."""
    return " ".join(filter(None, duration(seconds)))


def rate(per_second: float) -> tuple[str, str]:
    """Return how often something happens: by second, or by minute where that is rare."""
    if per_second == 0:
        return "0", "/s"
    if per_second < 0.1:
        return f"{per_second * 60:.1f}", "/min"
    if per_second < 100:
        return f"{per_second:.1f}", "/s"
    return f"{per_second:,.0f}", "/s"


def share(part: float, whole: float) -> str:
    """Return a part in percent, without saying 0 of some or 100 of not quite all."""
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def instant(at: datetime | None, now: datetime) -> str:
    """Return when something was: the time of day, with the day if that is another one."""
    if at is None:
        return NOTHING
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    if now - at < timedelta(days=6):
        return f"{at:%a %H:%M}"
    return f"{at:%-d %b %H:%M}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
