"""Time that passes only when a test says so."""

import re
from datetime import timedelta
from typing import Final

from messaging.clock import SYSTEM_CLOCK

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")

#: Seconds, or a text such as ``"90s"``, ``"5m"``, ``"1h30m"``, ``"7d"``.
Duration = float | str | timedelta


class VirtualClock:
    """Stands still at the instant of its making until it is moved ahead."""

    def __init__(self) -> None:
        #: Whole milliseconds: what is stored and read again stays what it was.
        self.started_at: Final = round(SYSTEM_CLOCK.now(), 3)
        self._monotonic_start: Final = SYSTEM_CLOCK.monotonic()
        self._passed = 0.0

    @property
    def passed_seconds(self) -> float:
        """Seconds it was moved ahead in all."""
        return self._passed

    def now(self) -> float:
        """Return the wall time in seconds since 1970 (UTC)."""
        return self.started_at + self._passed

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return self._monotonic_start + self._passed

    def sleep(self, seconds: float) -> None:
        """Move ahead: nobody waits."""
        self.move_to(self._passed + seconds)

    def move_to(self, passed_seconds: float) -> None:
        """Move ahead to so many seconds since its making; never back."""
        self._passed = max(self._passed, passed_seconds)


def seconds_of(duration: Duration) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: it is none, or negative.
    """
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, str):
        parts = _DURATION.findall(duration)
        if not parts or "".join(a + b for a, b in parts) != duration.replace(" ", ""):
            raise ValueError(
                f"expected a duration such as '90s', '5m' or '1h30m', got {duration!r}"
            )
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        seconds = float(duration)
    if seconds < 0:
        raise ValueError(
            f"expected a duration of 0 or more, got {duration!r}: time never goes back"
        )
    return seconds


def text_of(seconds: float) -> str:
    """Return seconds as people write them: ``1h 2m 3s``."""
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    return " ".join(f"{number}{unit}" for number, unit in parts if number)
