"""Who lives but takes no messages: a worker that lost its place at the broker, or hangs.

Each health round takes a look at what instances said with their heartbeats. One is wedged when it
took nothing from one look to the next, twice in a row, with messages waiting for its service and
handlers free for them, or all of them past their limits. What is busy takes messages, and is not.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from gateway_app.health.load import Load
from gateway_app.models import LastLook

#: So many looks in a row. With one alone a message that came a moment before would be enough.
LOOKS: Final = 2
NOT_TAKING: Final = "takes no messages, though some wait and handlers are free"
HANGING: Final = "takes no messages, though some wait: every handler runs for longer than it may"


@dataclass(frozen=True, slots=True)
class Sign:
    """What one instance that is heard of said with its last heartbeat."""

    instance_id: str
    service: str
    seen_at: datetime
    load: Load


@dataclass(frozen=True, slots=True)
class Look:
    """What the last health round saw of one instance."""

    consumed: int
    seen_at: datetime
    #: Looks in a row at which it had taken nothing, and messages waited.
    idle_looks: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Return the look that `to_json` wrote."""
        return cls(
            int(str(data["consumed"])),
            datetime.fromisoformat(str(data["seen_at"])),
            int(str(data["idle_looks"])),
        )

    def to_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "consumed": self.consumed,
            "seen_at": self.seen_at.isoformat(),
            "idle_looks": self.idle_looks,
        }


def look(
    signs: Iterable[Sign],
    *,
    waiting: Callable[[Iterable[str]], Mapping[str, int]],
    now: datetime,
) -> dict[str, str]:
    """Return of each instance why it is wedged, empty if it is not; and remember this look.

    An instance of which nothing can be said this time is left out: it is seen for the first time,
    has sent no heartbeat since the last look, or the broker did not tell how many messages wait.

    Args:
        signs: of all instances that are heard of.
        waiting: returns how many messages wait for services, of those it can tell. It is asked
            about services of instances that took nothing, so in a healthy system about none.
        now: the time of this look.
    """
    before = remembered()
    looks: dict[str, Look] = {}
    found: dict[str, str] = {}
    doubtful: list[tuple[Sign, Look]] = []
    for sign in signs:
        last = before.get(sign.instance_id)
        if last is None:
            looks[sign.instance_id] = Look(sign.load.consumed, sign.seen_at)
        elif sign.seen_at == last.seen_at:  # an earlier one is of a clock that has jumped back
            looks[sign.instance_id] = last
        elif _took_nothing(sign, last):
            doubtful.append((sign, last))
        else:
            looks[sign.instance_id] = Look(sign.load.consumed, sign.seen_at)
            found[sign.instance_id] = ""
    lengths = waiting({sign.service for sign, _ in doubtful}) if doubtful else {}
    for sign, last in doubtful:
        length = lengths.get(sign.service)
        if length is None:
            looks[sign.instance_id] = last
            continue
        idle_looks = last.idle_looks + 1 if length else 0
        looks[sign.instance_id] = replace(last, seen_at=sign.seen_at, idle_looks=idle_looks)
        reason = HANGING if sign.load.is_full else NOT_TAKING
        found[sign.instance_id] = reason if idle_looks >= LOOKS else ""
    _remember(looks, now)
    return found


def _took_nothing(sign: Sign, last: Look) -> bool:
    load = sign.load
    may_take = not load.is_paused and (not load.is_full or load.is_hung)
    return may_take and load.consumed == last.consumed


def remembered() -> dict[str, Look]:
    """Return what the last health round saw, by instance id."""
    row = LastLook.objects.filter(pk=_ROW).first()
    if row is None:
        return {}
    return {key: Look.from_json(value) for key, value in json.loads(row.looks_json).items()}


def _remember(looks: Mapping[str, Look], now: datetime) -> None:
    looks_json = json.dumps({key: value.to_json() for key, value in looks.items()})
    LastLook.objects.update_or_create(
        pk=_ROW, defaults={"looked_at": now, "looks_json": looks_json}
    )


_ROW: Final = 1
