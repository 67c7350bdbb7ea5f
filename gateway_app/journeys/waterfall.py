"""Where the time of a message went, on a scale on which seconds and hours can both be seen."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_app.journeys.journey import Attempt, Journey
from messaging.models import InboxState

LANES: Final = ("Outbox", "Queue", "Handler", "Retry wait", "Parked")
#: Shorter stretches than this are drawn as long.
_LEAST_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time in one lane."""

    lane: str
    began_at: datetime
    ended_at: datetime
    #: ``waiting``, ``failed``, ``handled``, ``open``.
    outcome: str

    @property
    def seconds(self) -> float:
        """How long it was."""
        return max(0.0, (self.ended_at - self.began_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Drawn:
    """A stretch with its place, in shares of the whole width."""

    stretch: Stretch
    left: float
    width: float


def stretches(known: Journey, now: datetime) -> list[Stretch]:
    """Return where the time went, oldest first, as far as it is on record."""
    return sorted(_stretches(known, now), key=lambda each: (each.began_at, each.ended_at))


def squeezed(found: Sequence[Stretch]) -> list[Drawn]:
    """Return stretches with places on a scale on which width grows with the log of duration.

    Instants keep their order; what takes a thousand times as long is drawn a few times as wide.
    """
    instants = sorted({at for each in found for at in (each.began_at, each.ended_at)})
    places = {}
    place = 0.0
    for number, at in enumerate(instants):
        if number:
            seconds = (at - instants[number - 1]).total_seconds()
            place += math.log10(1 + max(seconds, _LEAST_SECONDS) / _LEAST_SECONDS)
        places[at] = place
    whole = place or 1.0
    return [
        Drawn(
            each,
            places[each.began_at] / whole,
            (places[each.ended_at] - places[each.began_at]) / whole,
        )
        for each in found
    ]


def _stretches(known: Journey, now: datetime) -> Iterator[Stretch]:
    for row in known.sent:
        published_at = row.first_published_at or row.published_at
        until = published_at or row.settled_at or now
        yield Stretch("Outbox", row.created_at, max(until, row.created_at), "waiting")
    for service, attempts in _by_service(known).items():
        sent_at = _sent_at(known, service)
        before = sent_at
        for number, attempt in enumerate(attempts):
            took = attempt.seconds or 0.0
            began_at = datetime.fromtimestamp(
                attempt.ended_at.timestamp() - took, attempt.ended_at.tzinfo
            )
            if before is not None:
                lane = "Retry wait" if number else "Queue"
                began_at = max(began_at, before)
                yield from _gap(known, service, lane, before, began_at)
            outcome = "failed" if attempt.error else "handled"
            yield Stretch("Handler", began_at, max(began_at, attempt.ended_at), outcome)
            before = max(began_at, attempt.ended_at)
        yield from _end(known, service, before, now)


def _gap(
    known: Journey, service: str, lane: str, began_at: datetime, ended_at: datetime
) -> Iterator[Stretch]:
    """Yield what was between two attempts: a pause, or a time as a dead letter."""
    for letter in known.letters:
        if letter.service == service and began_at <= letter.parked_at <= ended_at:
            yield Stretch("Parked", letter.parked_at, ended_at, "waiting")
            return
    yield Stretch(lane, began_at, ended_at, "waiting")


def _end(
    known: Journey, service: str, before: datetime | None, now: datetime
) -> Iterator[Stretch]:
    """Yield what goes on: a pause before the next attempt, or lying parked."""
    if before is None:
        return
    row = next((each for each in known.received if each.service == service), None)
    state = row.state if row else ""
    if state == InboxState.WAITING:
        yield Stretch("Retry wait", before, max(now, before), "open")
    elif any(
        letter.service == service and letter.state == "parked" and letter.parked_at >= before
        for letter in known.letters
    ):
        yield Stretch("Parked", before, max(now, before), "open")


def _by_service(known: Journey) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for row in known.received:
        found.setdefault(row.service, [])
    for attempt in known.attempts:
        found.setdefault(attempt.service, []).append(attempt)
    return found


def _sent_at(known: Journey, service: str) -> datetime | None:
    """Return when the message was on its way to a service; None: not on record."""
    for row in known.sent:
        if row.target == service:
            return row.first_published_at or row.published_at or row.created_at
    return next((row.created_at for row in known.received if row.service == service), None)
