"""Beginning and ending many runs in one transaction, where many messages wait for a thread.

A transaction costs several times what its statements do. So the thread that is about to begin with
one message begins the runs of those that wait behind it as well, and notes the ends of those that
went before, all in one commit. What is noted a little later was done all the same: under custody
the row answers for a message from its beginning, and only an ``atomic=True`` handler promises that
its effect and the note of it are one.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from django.db import DatabaseError

from messaging.clock import SYSTEM_CLOCK
from messaging.custody import inbox
from messaging.custody.arrival import Arrival
from messaging.custody.begin import Begun, begin_all
from messaging.custody.inbox import Run
from messaging.custody.runs import RUNS
from messaging.database_threads import close_database, write_transaction
from messaging.envelope import Envelope, MessageKind
from messaging.events import emit, message_handled
from messaging.forking import without_fork
from messaging.registration import PERISHABLE

logger = logging.getLogger(__name__)

#: Runs of one transaction. More gain little, and are so many more to be done again, or to be
#: cleared of having killed the process, when it dies in one of them.
MOST: Final = 32
#: An end is noted within this, whatever the next handler takes.
LATE_SECONDS: Final = 0.005


class Expected:
    """A delivery whose run begins together with others."""

    __slots__ = ("_groups", "arrival", "begun", "envelope", "is_over")

    def __init__(self, groups: "RunGroups", envelope: Envelope, arrival: Arrival) -> None:
        self._groups = groups
        self.envelope = envelope
        self.arrival = arrival
        #: How it began, once it has.
        self.begun: Begun | None = None
        #: Whether a thread has it in hand, or it has been given up.
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
    """The runs of one service in one process of many threads. Thread-safe.

    Args:
        service: whose runs.
        max_deaths: see `custody.begin.begin`.
    """

    def __init__(self, service: str, max_deaths: int) -> None:
        self._service = service
        self._max_deaths = max_deaths
        self._beginning = threading.Lock()
        #: Held by who takes something out of `_waiting`.
        self._looking = threading.Lock()
        self._waiting: deque[Expected] = deque()
        #: Handled and not noted yet: the runs, with the seconds that they took.
        self._ended: deque[tuple[Run, float]] = deque()
        self._ended_since = 0.0
        #: Begun and not run: what to call once they are given back.
        self._given_back: deque[tuple[Run, Callable[[], None]]] = deque()
        self._has_work = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def expect(self, envelope: Envelope, arrival: Arrival) -> Expected | None:
        """Take note of a delivery that waits for a thread; None: it has to begin by itself.

        What has been delivered before may be what killed its process: alone it is found out.
        """
        is_first = arrival.publishes <= 1 and not arrival.redelivered
        is_kept = envelope.custodian is not None and envelope.kind is not MessageKind.REQUEST
        if not (is_first and is_kept) or envelope.type in PERISHABLE:
            return None
        expected = Expected(self, envelope, arrival)
        self._waiting.append(expected)
        return expected

    def begin(self, expected: Expected) -> Begun:
        """Begin a run, and those of what waits behind it; note the ends of those before."""
        with self._beginning:
            expected.is_over = True
            if expected.begun is None:
                group = [expected, *self._next(MOST - 1)]
                try:
                    self._begin(group)
                except DatabaseError as exc:
                    if len(group) == 1:
                        raise
                    # Another one of them may have been the reason.
                    logger.warning("%d runs could not begin together: %s", len(group), exc)
                    self._begin([expected])
            assert expected.begun is not None
            return expected.begun

    def end(self, run: Run, seconds: float) -> None:
        """Have a run noted as handled: at once if nothing waits, else together with others."""
        if not self._ended:
            self._ended_since = SYSTEM_CLOCK.monotonic()
        self._ended.append((run, seconds))
        if not self._is_more_to_come():
            self.flush()
        elif not self._has_work.is_set():
            self._work()

    def flush(self) -> None:
        """Note the ends of all runs that are handled. Never raises: what fails is done again."""
        ended = self._take_ended()
        if not ended:
            return
        try:
            lost = self._note(ended)
        except DatabaseError as exc:
            close_database()
            logger.warning("%d runs could not be noted as handled: %s", len(ended), exc)
            for run, _ in ended:
                RUNS.broken_off(run.token, run.row_id)
        else:
            self._tell(ended, lost)

    def give_back(self, expected: Expected, then: Callable[[], None]) -> None:
        """Let go of a delivery that no thread has taken, and call ``then``.

        Its run, if it was begun, is taken back first, uncounted.
        """
        with self._beginning:
            expected.is_over = True
            begun, expected.begun = expected.begun, None
        if not isinstance(begun, Run):
            then()
            return
        self._given_back.append((begun, then))
        self._work()

    def abandon(self) -> None:
        """Let go of everything that no thread has taken; the broker delivers it again."""
        with self._beginning, self._looking:
            while self._waiting:
                expected = self._waiting.popleft()
                if not expected.is_over and isinstance(expected.begun, Run):
                    self._given_back.append((expected.begun, _nothing))
                    # A thread may have it in hand all the same, and begins it anew then.
                    expected.begun = None
                expected.is_over = True
        self._take_back()
        self.flush()

    def _is_more_to_come(self) -> bool:
        with self._looking:
            while self._waiting and self._waiting[0].is_over:
                self._waiting.popleft()
            return bool(self._waiting)

    def _next(self, most: int) -> list[Expected]:
        with self._looking:
            waiting = [each for each in self._waiting if not each.is_over and each.begun is None]
        return waiting[:most]

    @without_fork
    def _begin(self, group: Sequence[Expected]) -> None:
        """Begin runs, and note the ends of others, in one transaction. The lock is held."""
        ended = self._take_ended()
        try:
            with write_transaction(to_disk=False):
                lost = inbox.end_all([run for run, _ in ended])
                begun = begin_all(
                    [(each.envelope, each.arrival) for each in group],
                    self._service,
                    self._max_deaths,
                )
        except BaseException:
            self._ended.extendleft(reversed(ended))
            self._work()
            raise
        for each, how in zip(group, begun, strict=True):
            each.begun = how
        self._tell(ended, lost)

    @without_fork
    def _note(self, ended: Sequence[tuple[Run, float]]) -> set[str]:
        with write_transaction(to_disk=False):
            return inbox.end_all([run for run, _ in ended])

    def _take_ended(self) -> list[tuple[Run, float]]:
        ended = []
        while self._ended:
            try:
                ended.append(self._ended.popleft())
            except IndexError:
                break  # another thread took the last one
        return ended

    def _tell(self, ended: list[tuple[Run, float]], lost: set[str]) -> None:
        for run, seconds in ended:
            if run.token in lost:
                logger.warning(
                    "run of %s %s lost its lease; its effect may have happened twice",
                    run.envelope.type,
                    run.envelope.id,
                )
            else:
                emit(message_handled, run.service, envelope=run.envelope, seconds=seconds)

    def _take_back(self) -> None:
        taken = []
        while self._given_back:
            taken.append(self._given_back.popleft())
        if not taken:
            return
        try:
            inbox.give_back([run for run, _ in taken])
        except DatabaseError as exc:
            close_database()
            logger.warning("%d runs could not be given back yet: %s", len(taken), exc)
            for run, _ in taken:
                RUNS.broken_off(run.token, run.row_id)
        for _, then in taken:
            then()

    def _work(self) -> None:
        """Have the thread see to what no thread of the pool does in time."""
        self._has_work.set()
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="messaging-run-groups", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._has_work.wait()
            self._has_work.clear()
            while self._ended or self._given_back:
                try:
                    self._take_back()
                    if SYSTEM_CLOCK.monotonic() - self._ended_since >= LATE_SECONDS:
                        self.flush()
                except Exception:
                    # Whatever it is: without this thread ends would wait for slow handlers.
                    logger.exception("run groups: this turn failed")
                SYSTEM_CLOCK.sleep(LATE_SECONDS)
            close_database()


def _nothing() -> None:
    pass
