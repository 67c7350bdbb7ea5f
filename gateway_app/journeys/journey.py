"""What is on record of one message: its copies, its attempts, its dead letters, its payload."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway_app.models import AuditRecord, DeadLetter
from messaging import codec
from messaging.envelope import Envelope
from messaging.errors import DecodeError
from messaging.models import FailedRound, InboxMessage, InboxState, OutboxMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A handler that was tried, or tried several times in a row."""

    service: str
    first: int
    last: int
    ended_at: datetime
    #: That the last try took; None: not known.
    seconds: float | None
    #: ``host pid`` of the process; empty: not known.
    where: str
    version: str
    #: Empty: it worked.
    error: str
    traceback: str = ""
    generation: int = 0
    #: Attempts allowed at most; None: without end, or not kept.
    most: int | None = None
    #: Whether its process died; then the numbers count deaths.
    is_death: bool = False

    @property
    def numbers(self) -> str:
        """The attempts, as in "3" or "1 to 3"."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    @property
    def name(self) -> str:
        """Which it is, as in "2nd round: attempt 1 of 5"."""
        what = "run" if self.is_death else "attempt" if self.first == self.last else "attempts"
        of = f" of {self.most}" if self.most is not None else ""
        again = f"{_ordinal(self.generation + 1)} round: " if self.generation else ""
        return f"{again}{what} {self.numbers}{of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """Everything on record of one message."""

    message_id: str
    envelope: Envelope | None
    sent: Sequence[OutboxMessage]
    received: Sequence[InboxMessage]
    letters: Sequence[DeadLetter]
    attempts: Sequence[Attempt]
    audit: Sequence[AuditRecord]

    @property
    def type(self) -> str:
        """Its type; empty where nobody could read it."""
        rows: Iterable[Any] = (*self.sent, *self.received, *self.letters)
        return next((row.type for row in rows if row.type), "")

    @property
    def state(self) -> str:
        """How far it is, in a word, for the worst of its copies that counts."""
        newest: dict[str, str] = {}
        for row in self.sent:  # oldest first: a replay takes the place of what was before
            newest[row.target] = row.state
        for inbox_row in self.received:
            newest.setdefault(inbox_row.service, inbox_row.state)
        states = set(newest.values()) or {letter.state for letter in self.letters}
        return min(states, key=_ORDER.index, default="")


#: From what still has to be done to what went well.
_ORDER: Final = (
    *("queued", "pending", "published", "accepted", "ready", "running", "waiting"),
    *("parked", "expired", "discarded", "replayed", "resolved", "handled"),
)


def journey(message_id: str) -> Journey | None:
    """Return what is on record of a message, in six queries by its id; None: nothing is."""
    sent = list(OutboxMessage.objects.filter(message_id=message_id).order_by("generation", "pk"))
    received = list(InboxMessage.objects.filter(message_id=message_id).order_by("pk"))
    letters = list(DeadLetter.objects.filter(message_id=message_id).order_by("parked_at", "pk"))
    if not (sent or received or letters):
        return None
    return Journey(
        message_id=message_id,
        envelope=_envelope(sent, received, letters),
        sent=sent,
        received=received,
        letters=letters,
        attempts=attempts_of(message_id, received),
        audit=list(AuditRecord.objects.filter(message_id=message_id).order_by("at", "pk")),
    )


def attempts_of(message_id: str, received: Iterable[InboxMessage]) -> list[Attempt]:
    """Return every attempt on record, oldest first, killed runs among them; one query."""
    rounds = FailedRound.objects.filter(message_id=message_id).order_by("ended_at", "pk")
    attempts = [_failed(each) for each in rounds]
    # One that worked has the limit of those that failed before it, as far as it is on record.
    most = {(each.service, each.generation): each.most for each in attempts if not each.is_death}
    for row in received:
        if (done := _worked(row, most.get((row.service, row.generation)))) is not None:
            attempts.append(done)
    return sorted(attempts, key=lambda attempt: attempt.ended_at)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def _failed(row: FailedRound) -> Attempt:
    return Attempt(
        service=row.service,
        first=row.first,
        last=row.last,
        ended_at=row.ended_at,
        seconds=row.seconds,
        where=_where(row.owner),
        version=row.version,
        error=row.error,
        traceback=row.traceback,
        generation=row.generation,
        most=row.most,
        is_death=bool(row.died_run),
    )


def _worked(row: InboxMessage, most: int | None) -> Attempt | None:
    if row.state != InboxState.HANDLED or row.finished_at is None:
        return None
    seconds = None
    if row.begun_at is not None:
        seconds = max(0.0, (row.finished_at - row.begun_at).total_seconds())
    number = row.attempts + 1
    return Attempt(
        service=row.service,
        first=number,
        last=number,
        ended_at=row.finished_at,
        seconds=seconds,
        where=_where(row.owner),
        version=row.version,
        error="",
        generation=row.generation,
        most=most,
    )


def _where(owner: str) -> str:
    """Return host and process of an owner, as `custody.owner` writes it."""
    parts = owner.split("/")
    if len(parts) < 4:
        return owner
    return f"{parts[0].partition(':')[0]} {parts[-2]}"


def _envelope(
    sent: Sequence[OutboxMessage],
    received: Sequence[InboxMessage],
    letters: Sequence[DeadLetter],
) -> Envelope | None:
    """Return the message as it was said; None where no copy that is left can be read."""
    texts = [row.envelope for row in sent] + [row.envelope for row in received]
    for text in filter(None, texts):
        try:
            return codec.decode(text)
        except DecodeError:
            continue  # another copy may be whole
    for letter in letters:
        if letter.envelope is not None:
            try:
                return codec.from_mapping(letter.envelope)
            except DecodeError:
                continue
    return None
