"""Beginning and ending many runs in one transaction, where many messages wait for a thread.

A transaction costs several times what its statements do. So the thread that is about to begin with
one message begins the runs of those that wait behind it as well, and notes the ends of those that
went before, all in one commit. What is noted a little later was done all the same: under custody
the row answers for a message from its beginning, and only an ``atomic=True`` handler promises that
its effect and the note of it are one.
"""

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from django.db import DatabaseError

from messaging.clock import SYSTEM_CLOCK
from messaging.context import handling
from messaging.custody import failed_rounds, inbox
from messaging.custody.arrival import Arrival
from messaging.custody.begin import Begun, begin_all, release_suspects
from messaging.custody.inbox import Run
from messaging.custody.late_work import LateWork
from messaging.custody.runs import RUNS
from messaging.database_threads import close_database, write_transaction
from messaging.envelope import Envelope, MessageKind
from messaging.events import emit, message_handled
from messaging.forking import without_fork
from messaging.registration import PERISHABLE

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Runs of one transaction. More gain little, and are so many more to be done again when it dies.
MOST: Final = 32
#: An end is noted within this, whatever the next handler takes.
LATE_SECONDS: Final = 0.005


class Expected:
    """A delivery whose run begins together with others."""

    __slots__ = ("_groups", "arrival", "begun", "envelope", "is_over", "is_taken")

    def __init__(self, groups: "RunGroups", envelope: Envelope, arrival: Arrival) -> None:
        self._groups = groups
        self.envelope = envelope
        self.arrival = arrival
        #: How it began, once it has.
        self.begun: Begun | None = None
        #: Whether a thread has it in hand.
        self.is_taken = False
        #: Whether it joins no group any more: a thread has it, or it goes back to the broker.
        self.is_over = False

    def begin(self) -> Begun:
        """Begin its run, if that has not happened yet; see `custody.begin.begin`.

        Raises:
            DatabaseError: nothing happened; the broker must keep the message.
        """
        return self._groups.begin(self)

    def end(self, run: Run, seconds: float) -> None:
        """Have it noted as handled soon. Not for ``atomic=True``. Never raises."""
        self._groups.end(run, seconds)


class RunGroups:
    """The runs of one service in one process. Thread-safe.

    Args:
        service: whose runs.
        max_deaths: see `custody.begin.begin`.
        version: of the service, for the record.
        records_all: whether each has a row, under custody or not.
    """

    def __init__(
        self, service: str, max_deaths: int, version: str = "", *, records_all: bool = False
    ) -> None:
        self._service = service
        self._max_deaths = max_deaths
        self._records_all = records_all
        self._version = failed_rounds.version_text(version)
        #: Held while runs begin, for as long as the database takes: never on the event loop.
        self._beginning = threading.Lock()
        #: Held for an instant, by who looks at what waits.
        self._looking = threading.Lock()
        self._waiting: deque[Expected] = deque()
        #: Handled and not noted yet.
        self._ended: deque[_Ended] = deque()
        self._ended_since = 0.0
        #: Not taken by a thread, and what to call once their runs are taken back.
        self._given_back: deque[tuple[Expected, Callable[[], None]]] = deque()
        self._late = LateWork("messaging-run-groups", self._turn, LATE_SECONDS)

    def expect(self, envelope: Envelope, arrival: Arrival) -> Expected | None:
        """Take note of a delivery that waits for a thread; None: it has to begin by itself.

        What has been delivered before may be what killed its process: alone it is found out. So it
        is where a single death is enough to be parked.
        """
        is_first = arrival.publishes <= 1 and not arrival.redelivered
        has_row = self._records_all or envelope.custodian is not None
        is_kept = has_row and envelope.kind is not MessageKind.REQUEST
        is_alone = self._max_deaths < 2 or envelope.type in PERISHABLE
        if is_alone or not (is_first and is_kept):
            return None
        expected = Expected(self, envelope, arrival)
        with self._looking:
            self._waiting.append(expected)
        return expected

    def begin(self, expected: Expected) -> Begun:
        """Begin a run, and those of what waits behind it; note the ends of those before."""
        told: list[tuple[_Ended, bool]] = []
        with self._beginning:
            expected.is_taken = expected.is_over = True
            if expected.begun is None:
                group = [expected, *self._next(MOST - 1)]
                try:
                    told = self._begin(group)
                except DatabaseError as exc:
                    if len(group) == 1:
                        raise
                    # Another one of them may have been the reason.
                    logger.warning("%d runs could not begin together: %s", len(group), exc)
                    told = self._begin([expected])
            begun = expected.begun
        _tell(told)
        assert begun is not None
        return begun

    def end(self, run: Run, seconds: float) -> None:
        """Have a run noted as handled: at once if nothing waits, else together with others."""
        if not self._ended:
            self._ended_since = SYSTEM_CLOCK.monotonic()
        self._ended.append(_Ended(run, seconds))
        if not self._is_more_to_come():
            self.flush()
        else:
            self._late.poke()

    def flush(self) -> None:
        """Note the ends of all runs that are handled. Never raises: what fails is done again."""
        ended = _all_of(self._ended)
        if not ended:
            return
        try:
            told = self._note(ended)
        except Exception as exc:
            close_database()
            logger.warning("%d runs could not be noted as handled: %r", len(ended), exc)
            for run, _ in ended:
                RUNS.broken_off(run.token, run.row_id)
        else:
            _tell(told)

    def give_back(self, expected: Expected, then: Callable[[], None]) -> None:
        """Let go of a delivery that no thread has taken, and call ``then``, soon.

        Its run, if it was begun, is taken back first, uncounted. Never waits.
        """
        expected.is_over = True
        self._given_back.append((expected, then))
        self._late.poke()

    def abandon(self) -> None:
        """Let go of everything that no thread has taken; the broker delivers it again.

        Never waits; see `wait`.
        """
        with self._looking:
            left = _all_of(self._waiting)
        for expected in left:
            self.give_back(expected, lambda: None)

    def wait(self, timeout_seconds: float) -> None:
        """Wait until what was given back or has ended is on record, not for longer than that."""
        self._late.wait(timeout_seconds)

    def _is_more_to_come(self) -> bool:
        with self._looking:
            self._prune()
            return bool(self._waiting)

    def _prune(self) -> None:
        while self._waiting and self._waiting[0].is_over:
            self._waiting.popleft()

    def _next(self, most: int) -> list[Expected]:
        """Return the first that wait and have not begun, at most so many."""
        with self._looking:
            self._prune()
            found = (each for each in self._waiting if not each.is_over and each.begun is None)
            return list(itertools.islice(found, most))

    @without_fork
    def _begin(self, group: Sequence[Expected]) -> "list[tuple[_Ended, bool]]":
        """Begin runs, and note the ends of others, in one transaction. The lock is held."""
        ended = _all_of(self._ended)
        begun: list[Begun] = []
        try:
            with write_transaction(to_disk=False):
                lost = inbox.end_all([run for run, _ in ended])
                begun = begin_all(
                    [(each.envelope, each.arrival) for each in group],
                    self._service,
                    self._max_deaths,
                    self._version,
                )
        except BaseException:
            release_suspects(begun)
            self._ended.extendleft(reversed(ended))
            self._late.poke()
            raise
        for each, how in zip(group, begun, strict=True):
            each.begun = how
        return [(each, each.run.token in lost) for each in ended]

    @without_fork
    def _note(self, ended: "Sequence[_Ended]") -> "list[tuple[_Ended, bool]]":
        try:
            lost = self._note_once(ended)
        except DatabaseError as exc:
            # Two that write many rows may have been in each other's way.
            logger.info("noting %d ends again: %s", len(ended), exc)
            close_database()
            lost = self._note_once(ended)
        return [(each, each.run.token in lost) for each in ended]

    def _note_once(self, ended: "Sequence[_Ended]") -> set[str]:
        with write_transaction(to_disk=False):
            return inbox.end_all([run for run, _ in ended])

    def _take_back(self) -> None:
        given_back = _all_of(self._given_back)
        runs = []
        if given_back:
            with self._beginning:  # what is about to begin has begun, or will not
                for expected, _ in given_back:
                    if isinstance(expected.begun, Run) and not expected.is_taken:
                        runs.append(expected.begun)
                        # A thread may have it in hand all the same, and begins it anew then.
                        expected.begun = None
        release_suspects(runs)
        if runs:
            try:
                inbox.give_back(runs)
            except Exception as exc:
                close_database()
                logger.warning("%d runs could not be given back yet: %r", len(runs), exc)
                for run in runs:
                    RUNS.broken_off(run.token, run.row_id)
        for _, then in given_back:
            then()

    def _turn(self) -> bool:
        """Do what no thread of the pool does in time; return whether more may be late soon."""
        self._take_back()
        if SYSTEM_CLOCK.monotonic() - self._ended_since >= LATE_SECONDS:
            self.flush()
        return bool(self._ended or self._given_back)


class _Ended(NamedTuple):
    run: Run
    seconds: float


def _tell(ended: Sequence[tuple[_Ended, bool]]) -> None:
    """Say what has ended and is on record, each as if its own handler had just returned."""
    for (run, seconds), is_lost in ended:
        if is_lost:
            logger.warning(
                "run of %s %s lost its lease; its effect may have happened twice",
                run.envelope.type,
                run.envelope.id,
            )
        elif message_handled.receivers:
            with handling(run.envelope):
                emit(message_handled, run.service, envelope=run.envelope, seconds=seconds)


def _all_of(waiting: "deque[T]") -> list[T]:
    """Take all out of a queue that other threads take from as well."""
    taken = []
    while waiting:
        try:
            taken.append(waiting.popleft())
        except IndexError:
            break  # another thread took the last one
    return taken
