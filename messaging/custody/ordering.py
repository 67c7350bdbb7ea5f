"""Messages of one ordering key: one at a time, in the order in which their sender stored them.

``queued --let out--> pending``, and from there as every other row. What one database sends to one
target under one key is a *sequence*. One message of it is under way at most; the database refuses
a second one. The next is let out when that has come to its end, whatever the end is.

Who stores a message and who ends one each look for the next after their commit, so that one of
the two at least sees the other. A relay looks now and then for what was killed in between.
"""

import logging
import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, NamedTuple, Protocol

from django.db import DatabaseError, connection, transaction

from messaging.clock import BUS_CLOCK
from messaging.custody.sql import Statement
from messaging.database_threads import close_database, write_transaction
from messaging.envelope import utc_now
from messaging.forking import without_fork
from messaging.models import OutboxMessage

logger = logging.getLogger(__name__)

#: How often a relay looks for sequences that nobody has gone on with.
LOOK_SECONDS: Final = 30.0
#: Sequences of one look; the next one goes on behind them.
LOOKED_AT: Final = 500

_OUTBOX: Final = OutboxMessage._meta.db_table
_SEQUENCE: Final = "target = %(target)s AND ordering_key = %(ordering_key)s"
# As the condition of the unique index has it, or SQLite would not use that.
_UNDER_WAY: Final = "state IN ('pending', 'published', 'accepted') AND ordering_key > ''"
_LET_OUT: Final = Statement(
    f"UPDATE {_OUTBOX} SET state = 'pending', due_at = %(due_at)s WHERE state = 'queued' "
    f"AND id = (SELECT id FROM {_OUTBOX} WHERE {_SEQUENCE} AND state = 'queued' "
    "ORDER BY id LIMIT 1) "
    f"AND NOT EXISTS (SELECT 1 FROM {_OUTBOX} WHERE {_SEQUENCE} AND {_UNDER_WAY}) "
    "RETURNING message_id, target, generation, envelope"
)
#: Jumps from sequence to sequence in the index, however many messages each has.
_NEXT_SEQUENCE: Final = Statement(
    f"SELECT target, ordering_key FROM {_OUTBOX} WHERE state = 'queued' "
    "AND (target, ordering_key) > (%(target)s, %(ordering_key)s) "
    "ORDER BY target, ordering_key LIMIT 1"
)
_IS_UNDER_WAY: Final = Statement(f"SELECT 1 FROM {_OUTBOX} WHERE {_SEQUENCE} AND {_UNDER_WAY}")


class Sequence(NamedTuple):
    """What is sent to one service under one ordering key."""

    target: str
    ordering_key: str


_BEFORE_ALL: Final = Sequence("", "")


class Watch:
    """Looks now and then for messages whose turn it is and that nobody has let out."""

    def __init__(self) -> None:
        #: On the monotonic clock; at once at first: whoever was killed had reason to be started.
        self._look_at = 0.0
        self._behind: Sequence | None = None

    def turn(self) -> None:
        """Look at `LOOKED_AT` sequences, if it is time."""
        now = BUS_CLOCK.monotonic()
        if now < self._look_at:
            return
        self._behind = let_out_forgotten(self._behind or _BEFORE_ALL)
        if self._behind is None:
            self._look_at = now + LOOK_SECONDS


class LetOut(NamedTuple):
    """A message whose turn it is."""

    message_id: str
    target: str
    generation: int
    body: str


class Publisher(Protocol):
    """Publishes at once what is let out."""

    #: A relay does so instead after this.
    claim_seconds: float

    @property
    def has_room(self) -> bool:
        """Whether it would take what it is given now."""

    def take(self, found: list[LetOut]) -> None:
        """Publish these, soon. Never blocks, never raises."""


class Relay(Protocol):
    """What a relay does for the other threads of its process."""

    @property
    def publisher(self) -> Publisher:
        """Of the same process."""

    def wake(self) -> None:
        """Have it look at once for what is due, and for receipts that are owed."""


class Relays:
    """The relays that run in this process. Thread-safe."""

    def __init__(self) -> None:
        self._running: frozenset[Relay] = frozenset()
        self._lock = threading.Lock()

    def add(self, relay: Relay) -> None:
        """It runs from now on."""
        with self._lock:
            self._running |= {relay}

    def discard(self, relay: Relay) -> None:
        """It does not run any more."""
        with self._lock:
            self._running -= {relay}

    def wake(self) -> None:
        """Have them look. Without one in this process, another one looks at its own pace."""
        for relay in self._running:
            relay.wake()

    @property
    def publisher(self) -> Publisher | None:
        """One that publishes for this process, if there is any."""
        return next((relay.publisher for relay in self._running), None)


RELAYS: Final = Relays()


def take_turn(sequence: Sequence) -> None:
    """Wait for transactions that store into the same sequence; in one that is about to do so.

    Ids then grow in the order of the commits. SQLite has one writer at a time anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # Two sequences of one hash wait for each other, no more.
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                [f"messaging/{sequence.target}/{sequence.ordering_key}"],
            )


@without_fork
def let_out(sequences: Iterable[Sequence], due_seconds: float = 0.0) -> list[LetOut]:
    """``queued --> pending``: the first of each sequence, where none is under way.

    Safe to repeat. Commits.

    Args:
        sequences: which.
        due_seconds: when a relay publishes them, if nobody has done so before.
    """
    now = utc_now()
    with write_transaction(to_disk=False):
        # In one order everywhere: no two that let out several wait for each other.
        rows = [
            _LET_OUT.fetch({**each._asdict(), "due_at": now + timedelta(seconds=due_seconds)})
            for each in sorted(sequences)
        ]
    return [LetOut(*row) for row in rows if row is not None]


def go_on(sequences: Iterable[Sequence], publisher: Publisher | None) -> None:
    """Let out what is next, after the commit that made it so, and have it published.

    Never raises what a database raises: a relay looks for what was not let out.

    Args:
        sequences: which.
        publisher: publishes it at once; None: a relay does, when it looks.
    """
    if publisher is not None and not publisher.has_room:
        publisher = None
    try:
        found = let_out(sequences, 0.0 if publisher is None else publisher.claim_seconds)
    except DatabaseError as exc:
        close_database()
        logger.warning(
            "what is next of its ordering key waits up to %g s for a relay: %s", LOOK_SECONDS, exc
        )
        return
    if publisher is not None:
        publisher.take(found)


def ended(sequence: Sequence) -> None:
    """Have a sequence gone on with once the transaction commits that ended a message of it."""
    _to_go_on.sequences.add(sequence)
    transaction.on_commit(_go_on, robust=True)


class _ToGoOn(threading.local):
    def __init__(self) -> None:
        #: Ended in transactions of this thread; those rolled back among them do no harm.
        self.sequences: set[Sequence] = set()


_to_go_on: Final = _ToGoOn()


def _go_on() -> None:
    """Do all of one transaction at its first call."""
    sequences, _to_go_on.sequences = _to_go_on.sequences, set()
    if sequences:
        go_on(sequences, RELAYS.publisher)


@without_fork
def let_out_forgotten(behind: Sequence) -> Sequence | None:
    """Let out what nobody has: whoever ended the one before it was killed, or could not.

    Args:
        behind: the last sequence of the look before.

    Returns:
        The last one looked at, if there may be more.
    """
    forgotten: list[Sequence] = []
    for _ in range(LOOKED_AT):
        row = _NEXT_SEQUENCE.fetch(behind._asdict())
        if row is None:
            let_out(forgotten)
            return None
        behind = Sequence(*row)
        if _IS_UNDER_WAY.fetch(behind._asdict()) is None:
            forgotten.append(behind)
    let_out(forgotten)
    return behind
