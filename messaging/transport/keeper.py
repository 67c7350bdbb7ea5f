"""The thread that keeps this process's sessions alive and looks after the file.

Of its own, so that neither a long handler nor a busy event loop can cost a lease.
"""

import logging
import threading
from typing import TYPE_CHECKING, Final

from messaging.errors import BrokerError, PublishError
from messaging.transport import leases, statements
from messaging.transport.checkpoint import EVERY_COMMITS, checkpoint
from messaging.transport.maintenance import Maintenance
from messaging.transport.options import Options

if TYPE_CHECKING:
    from messaging.transport.broker import Broker

logger = logging.getLogger(__name__)

#: Renewals per lease: five in a row may fail or come late.
_RENEWALS_PER_LEASE: Final = 6
#: Delayed messages made ready in one transaction; about 2 ms.
_PROMOTED_AT_ONCE: Final = 500


class Keeper(threading.Thread):
    """Renews, promotes what is due, ends dead sessions, wakes, sweeps. Ends with the last session.

    Whatever fails because the file is busy is tried again at the next tick; a lease outlasts
    several. What fails for good retires the store, so that every connection learns of it.
    """

    def __init__(self, broker: "Broker", options: Options) -> None:
        super().__init__(name="sqlite-broker-keeper", daemon=True)
        self._broker = broker
        self._store = broker.store
        self._options = options
        self._maintenance = Maintenance(broker.store, options)
        self._poked = threading.Event()
        self._is_stopped = False
        self._due_at = 0.0
        self._commits = 0
        self._renew_at = self._tick_at = self._store.clock.monotonic()
        self._data_version = 0
        #: Sessions that looked expired at the last tick.
        self._suspects: set[int] = set()

    def stop(self) -> None:
        """Have the thread end soon; does not wait for it."""
        self._is_stopped = True
        self._poked.set()

    def expect_due(self, due_at: float) -> None:
        """Look at delayed messages no later than this (seconds since 1970)."""
        if due_at < self._due_at or not self._due_at:
            self._due_at = due_at
            self._poked.set()

    def note_commit(self) -> None:
        """Take note of a transaction; after many the log is carried over."""
        self._commits += 1
        if self._commits == EVERY_COMMITS:
            self._poked.set()

    def run(self) -> None:
        """Work until stopped or until the store retires."""
        while not self._is_stopped and not self._store.retired:
            self._poked.wait(self._pause())
            self._poked.clear()
            if self._is_stopped:
                return
            try:
                self._work()
            except (BrokerError, PublishError) as exc:
                logger.warning("embedded broker: %s", exc)
            except Exception as exc:
                logger.exception("embedded broker: maintenance failed")
                self._store.retire(f"{self._store.files.database}: maintenance failed: {exc!r}")

    def _pause(self) -> float:
        clock = self._store.clock
        pause = min(self._tick_at, self._renew_at) - clock.monotonic()
        if self._due_at:
            pause = min(pause, self._due_at - clock.now())
        return max(0.0, pause)

    def _work(self) -> None:
        now = self._store.clock.monotonic()
        if now >= self._renew_at:
            # Set first: a renewal that fails must not turn the loop into a busy one.
            self._renew_at = now + self._options.lease_seconds / _RENEWALS_PER_LEASE
            self._broker.renew_sessions()
        self._promote()
        if self._commits >= EVERY_COMMITS:
            self._commits = 0
            checkpoint(self._store)
        if now >= self._tick_at:
            self._tick_at = now + self._options.maintenance_seconds
            self._tick(now)

    def _promote(self) -> None:
        """``delayed --> ready`` for all that is due, and note what is due next."""
        self._due_at = 0.0
        for (due_at,) in self._store.read(statements.NEXT_DUE):
            now = self._store.clock.now()
            if due_at > now:
                self._due_at = due_at
                return
            with self._store.transaction(busy_seconds=self._options.busy_seconds) as db:
                queue_ids = leases.promote(db, now, _PROMOTED_AT_ONCE)
            self._broker.publisher.wake_consumers(queue_ids)
            self._due_at = now  # look again at once: there may be more

    def _tick(self, now: float) -> None:
        self._store.check()
        self._broker.end_forgotten_sessions()
        self._end_dead_sessions(now)
        self._wake_if_changed()
        self._maintenance.sweep()

    def _end_dead_sessions(self, now: float) -> None:
        rows = self._store.read(
            "SELECT id FROM session WHERE lease_expires_at < :now", {"now": now}
        )
        expired = {row[0] for row in rows}
        # Believed only when seen twice: after a stall of the whole machine every session looks
        # expired for a moment, and the others deserve the time to renew.
        self._broker.end_dead_sessions(expired & self._suspects)
        self._suspects = expired

    def _wake_if_changed(self) -> None:
        # For the publisher that died between its commit and its wake-up.
        version = self._store.read("PRAGMA data_version")[0][0]
        if version != self._data_version or self._broker.has_strays:
            self._data_version = version
            self._broker.wake_own_sessions()
