"""What a worker handles, added up by who sent it and what it is; heartbeats carry it.

One row for each second and each kind of message, so that it costs next to nothing per message,
whatever the traffic.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import Envelope
from messaging.histogram import Histogram, bucket_of
from messaging.outcome import Outcome
from messaging.registration import PERISHABLE
from messaging.text import storable

#: Rows kept until they are taken. What has no room is counted without its source and type.
MOST_ROWS: Final = 300
#: As JSON, of all rows of one heartbeat: well below the smallest sensible limit of a message. The
#: oldest go first, the others with the next ones.
MOST_TAKEN_CHARACTERS: Final = 40_000
#: Of the text of an error.
MOST_CHARACTERS: Final = 200

_now = SYSTEM_CLOCK.now
_Key = tuple[int, str, str, str, str]


class _Row:
    __slots__ = ("count", "failures", "handling", "last_error", "total", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.failures = 0
        self.waiting: Histogram = {}
        self.handling: Histogram = {}
        self.total: Histogram = {}
        self.last_error = ""


class Flow:
    """Adds up the deliveries of one worker. Written on its event loop, taken on any thread."""

    def __init__(self) -> None:
        self._rows: dict[_Key, _Row] = {}
        #: The second under which all is counted that has no room, until rows are taken.
        self._full_since: int | None = None

    def note(self, envelope: Envelope, seconds: float, outcome: Outcome) -> None:
        """Count one delivery.

        Args:
            envelope: the message.
            seconds: for how long the handler had it.
            outcome: how it ended.
        """
        if envelope.type in PERISHABLE:
            return  # the bus talks to itself
        now = _now()
        key = (int(now), envelope.source, envelope.type, envelope.kind, envelope.priority)
        row = self._rows.get(key)
        if row is None:
            row = self._new_row(key)
        row.count += 1
        # From when it was sent; clocks apart make it no less than nothing.
        since_sent = now - envelope.created_at.timestamp()
        number = bucket_of(since_sent - seconds)
        row.waiting[number] = row.waiting.get(number, 0) + 1
        number = bucket_of(seconds)
        row.handling[number] = row.handling.get(number, 0) + 1
        if outcome.error:
            row.failures += 1
            row.last_error = outcome.error[:MOST_CHARACTERS]
        else:
            number = bucket_of(since_sent)
            row.total[number] = row.total.get(number, 0) + 1

    def take(self, *, is_last: bool = False) -> list[dict[str, Any]]:
        """Return rows and forget them; of seconds that are over, the oldest first.

        Args:
            is_last: also those of the present second.
        """
        present = int(_now()) + is_last
        taken, characters = [], 0
        # A copy made in one step: rows come in meanwhile, for the present second.
        for key in sorted(key for key in list(self._rows) if key[0] < present):
            row = _to_json(key, self._rows[key])
            characters += len(json.dumps(row, ensure_ascii=False))
            if characters > MOST_TAKEN_CHARACTERS:
                break
            del self._rows[key]
            taken.append(row)
        self._full_since = None
        return taken

    def _new_row(self, key: _Key) -> _Row:
        if len(self._rows) >= MOST_ROWS:
            self._full_since = self._full_since or key[0]
            key = (self._full_since, "", "", key[3], key[4])
        return self._rows.setdefault(key, _Row())


def _to_json(key: _Key, row: _Row) -> dict[str, Any]:
    at, source, message_type, kind, priority = key
    said: dict[str, Any] = {
        "at": at,
        "source": source,
        "type": message_type,
        "kind": kind,
        "priority": priority,
        "count": row.count,
        "waiting": _pairs(row.waiting),
        "handling": _pairs(row.handling),
        "total": _pairs(row.total),
    }
    if row.failures:
        said |= {"failures": row.failures, "last_error": storable(row.last_error)}
    return said


def _pairs(counts: Histogram) -> Iterable[tuple[int, int]]:
    return sorted(counts.items())
