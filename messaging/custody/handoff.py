"""The thread that publishes what this process has just put into the outbox.

It saves the relay's tick, nothing else: a row is born as if a relay had claimed it, so whatever
the thread does not get to do falls due and is done by the next relay that looks.
"""

import logging
import queue
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db import DatabaseError

from messaging import codec
from messaging.batches import Copy
from messaging.clock import SYSTEM_CLOCK
from messaging.custody import epoch, outbox
from messaging.custody.link import Link
from messaging.custody.ordering import LetOut
from messaging.custody.outbox import Key
from messaging.custody.sending import Sent, send
from messaging.database_threads import close_database
from messaging.envelope import Envelope
from messaging.errors import BrokerError, DecodeError, PublishError
from messaging.forking import after_fork

if TYPE_CHECKING:
    from messaging.bus import MessageBus

logger = logging.getLogger(__name__)

#: More than this waits for the relay: a broker that is away must not fill the memory. Fewer than
#: can be published before their rows fall due (`outbox.CLAIM_SECONDS`).
CAPACITY: Final = 10_000
CAPACITY_CHARACTERS: Final = 10_000_000
#: So many are published, and then marked, together.
BATCH: Final = 100
#: Where messages come faster than they are published one by one, so long are they gathered.
GATHER_SECONDS: Final = 0.005
#: The thread ends when there was nothing to do for this long.
IDLE_SECONDS: Final = 10.0


class Item(NamedTuple):
    """A row, and what it says."""

    key: Key
    envelope: Envelope
    body: str


class Handoff:
    """Publishes and marks, in the order given. Thread-safe; a forked child starts with none."""

    #: What it is given is left to it for so long.
    claim_seconds = outbox.CLAIM_SECONDS

    def __init__(self, bus: "MessageBus") -> None:
        self._bus = bus
        self._reset()
        self._fork_token = after_fork(self._reset)

    def _reset(self) -> None:
        self._items: queue.Queue[Item] = queue.Queue(CAPACITY)
        self._lock = threading.Lock()
        #: Length of all bodies in hand.
        self._characters = 0
        self._is_burst = False
        self._thread: threading.Thread | None = None

    @property
    def has_room(self) -> bool:
        """Whether what is given now would be taken."""
        return not self._items.full() and self._characters < CAPACITY_CHARACTERS

    def give(self, key: Key, envelope: Envelope, body: str) -> None:
        """Publish a row that is committed, soon. Never blocks, never raises."""
        if not self.has_room:
            return  # its row falls due
        try:
            self._items.put_nowait(Item(key, envelope, body))
        except queue.Full:
            return
        with self._lock:
            self._characters += len(body)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="messaging-handoff", daemon=True
                )
                self._thread.start()

    def take(self, found: list[LetOut]) -> None:
        """Publish what was let out of its sequence and claimed, soon. Never blocks or raises."""
        for each in found:
            try:
                envelope = codec.decode(each.body)
            except DecodeError:
                continue  # of a later version, perhaps: a relay says so when it falls due
            key = Key(each.message_id, each.target, each.generation)
            self.give(key, envelope, each.body)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all that was given is published or left to a relay; False: not in time."""
        give_up_at = SYSTEM_CLOCK.monotonic() + timeout_seconds
        with self._items.all_tasks_done:
            while self._items.unfinished_tasks:
                left = give_up_at - SYSTEM_CLOCK.monotonic()
                if left <= 0:
                    return False
                self._items.all_tasks_done.wait(left)
        return True

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                try:
                    self.publish(batch)
                except DatabaseError as exc:
                    # The rows are as they were and fall due: published twice, marked once.
                    logger.warning("handoff: the database did not answer: %s", exc)
                    close_database()
                except Exception:
                    logger.exception("handoff: a batch failed; its rows fall due")
                finally:
                    with self._lock:
                        self._characters -= sum(len(item.body) for item in batch)
                    for _ in batch:
                        self._items.task_done()
        finally:
            close_database()

    def _next_batch(self) -> list[Item] | None:
        """Return what waits; None, and no thread any more, if nothing came for a while."""
        try:
            batch = [self._items.get(timeout=IDLE_SECONDS)]
        except queue.Empty:
            with self._lock:
                if self._items.empty():
                    self._thread = None
                    return None
            return []
        if self._is_burst:
            SYSTEM_CLOCK.sleep(GATHER_SECONDS)
        while len(batch) < BATCH:
            try:
                batch.append(self._items.get_nowait())
            except queue.Empty:
                break
        self._is_burst = len(batch) > 1
        return batch

    def publish(self, batch: list[Item]) -> None:
        """Publish rows that are committed, and mark them.

        Raises:
            DatabaseError: the rows are as they were, and fall due.
        """
        if not batch:
            return
        # Read before publishing: what the broker loses from now on shows as another epoch.
        current, wait = outbox.epoch_now(), self._bus.config.receipt_timeout_seconds
        if not current:
            current = self._begin_first_epoch()
        rows = [
            Sent(each.key, Copy(each.envelope, each.body, each.key.target or None, 1), wait)
            for each in batch
        ]
        send(self._bus, rows, current)

    def _begin_first_epoch(self) -> str:
        """Put the marker on the broker before anything it could lose."""
        try:
            epoch.check(Link(self._bus))
        except (BrokerError, PublishError):
            return ""  # publishing tells the same, and puts the rows off
        return outbox.epoch_now()
