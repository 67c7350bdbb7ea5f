"""Messages that are sent again and again: what is said, and when. Knows neither Django nor Celery.

The gateway sends them, see `gateway_app.recurring`: a service declares them, or a person does.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from messaging.envelope import MessagePriority, is_message_type, is_service_name, is_storable_id
from messaging.registration import INTERNAL

#: More often is not what this is for.
LEAST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 366 * 86_400.0
MAX_NAME_LENGTH: Final = 100
#: That one service may declare.
MOST_OF_ONE_SERVICE: Final = 200
MAX_CRON_LENGTH: Final = 100
#: As JSON.
MAX_DATA_BYTES: Final = 16_384
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """One message that recurs.

    Raises:
        ValueError: at its making, a field is wrong; the text says which.
    """

    #: Unique to who declares it.
    name: str
    type: str
    #: The service it is sent to; empty: it is broadcast.
    to: str = ""
    #: A JSON value, the same each time.
    data: Any = None
    priority: MessagePriority = MessagePriority.NORMAL
    #: Seconds between two, counted from 1970 in UTC: 3600 is at each full hour, whoever is
    #: started when. None: see ``cron``.
    every: float | None = None
    #: Minute, hour, day of the month, month and day of the week, as cron has them.
    cron: str = ""
    #: Whose clock ``cron`` means.
    timezone: str = "UTC"
    #: Seconds after which nobody may handle one any more; None: never.
    expires_in: float | None = None
    #: Whether one is sent though the one before it is not at its end.
    overlaps: bool = True

    def __post_init__(self) -> None:
        if not is_storable_id(self.name) or len(self.name) > MAX_NAME_LENGTH:
            raise _wrong("name", f"1 to {MAX_NAME_LENGTH} characters", self.name)
        if not is_message_type(self.type):
            raise _wrong("type", "words joined by dots", self.type)
        if self.type in INTERNAL:
            raise _wrong("type", "none of the library's own", self.type)
        if self.to and not is_service_name(self.to):
            raise _wrong("to", "the name of a service", self.to)
        if not self.to and not self.overlaps:
            raise _wrong("overlaps", "true for a broadcast: it has many ends", self.overlaps)
        _check_data(self.data)
        if (self.every is None) == (not self.cron):
            raise _wrong("every, cron", "one of the two", (self.every, self.cron))
        for key, value in (("every", self.every), ("expires_in", self.expires_in)):
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                raise _wrong(key, "a number of seconds", value)
        if self.every is not None and not LEAST_SECONDS <= self.every <= MOST_SECONDS:
            raise _wrong("every", f"{LEAST_SECONDS:g} to {MOST_SECONDS:g} seconds", self.every)
        if self.expires_in is not None and not 0 < self.expires_in <= MOST_SECONDS:
            raise _wrong("expires_in", f"seconds up to {MOST_SECONDS:g}", self.expires_in)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise _wrong("timezone", "a name such as Europe/Berlin", self.timezone) from exc
        if self.cron:
            _check_cron(self.cron)

    def next_after(self, instant: datetime) -> datetime:
        """Return when the next one is due, later than that instant; aware, in UTC.

        By ``cron``, what the clock leaves out in spring is due as soon as it goes on; what comes
        twice in autumn is due once.
        """
        if self.every is None:
            local = instant.astimezone(ZoneInfo(self.timezone))
            return next(CronSim(self.cron, local)).astimezone(UTC)
        passed = (instant - _EPOCH).total_seconds()
        due_at = _EPOCH + timedelta(seconds=(math.floor(passed / self.every) + 1) * self.every)
        # Of fractions that no float has.
        return due_at if due_at > instant else due_at + timedelta(seconds=self.every)

    def to_json(self) -> dict[str, Any]:
        """Return it as ``service.register`` has it."""
        return {
            "name": self.name,
            "type": self.type,
            "to": self.to,
            "data": self.data,
            "priority": self.priority.value,
            "every": self.every,
            "cron": self.cron,
            "timezone": self.timezone,
            "expires_in": self.expires_in,
            "overlaps": self.overlaps,
        }

    @classmethod
    def from_json(cls, said: Any) -> Self:
        """Return what `to_json` wrote, or somebody else in another language.

        Raises:
            ValueError: a field is wrong.
        """
        if not isinstance(said, Mapping):
            raise _wrong("a recurring message", "an object", said)
        known = set(cls.__slots__) & set(said)
        values: dict[str, Any] = {name: said[name] for name in known if said[name] is not None}
        for name in ("name", "type", "to", "cron", "timezone"):
            if not isinstance(values.get(name, ""), str):
                raise _wrong(name, "a text", values[name])
        if not isinstance(values.get("overlaps", True), bool):
            raise _wrong("overlaps", "true or false", values["overlaps"])
        if not {"name", "type"} <= known:
            raise _wrong("a recurring message", "a name and a type", sorted(said))
        priority = MessagePriority(values.pop("priority", MessagePriority.NORMAL))
        return cls(priority=priority, **values)


def _check_cron(cron: str) -> None:
    # Six fields would be seconds: that is what `every` is for.
    if len(cron) > MAX_CRON_LENGTH or len(cron.split()) != 5:
        raise _wrong("cron", "five fields", cron)
    try:
        next(CronSim(cron, _EPOCH))
    except (CronSimError, StopIteration) as exc:
        reason = str(exc) or "it is never due"
        raise ValueError(f"cron: {cron!r}: {reason}") from exc


def _check_data(data: Any) -> None:
    try:
        text = json.dumps(data, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"data: expected a JSON value: {exc}") from exc
    if len(text) > MAX_DATA_BYTES:
        raise ValueError(f"data: expected at most {MAX_DATA_BYTES} bytes, got {len(text)}")


def _wrong(key: str, expected: str, got: object) -> ValueError:
    return ValueError(f"{key}: expected {expected}, got {got!r:.150}")
