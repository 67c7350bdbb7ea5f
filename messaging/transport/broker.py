"""All that this process has for one broker file: the store, what publishes, the sessions."""

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Final

from messaging.transport import sessions
from messaging.transport.files import BrokerFiles
from messaging.transport.keeper import Keeper
from messaging.transport.options import Options
from messaging.transport.publishing import Publisher
from messaging.transport.sessions import Session, lock_byte
from messaging.transport.store import Store


class Broker:
    """One broker file, for all connections of this process to it. Thread-safe."""

    def __init__(self, files: BrokerFiles) -> None:
        self.store = Store(files)
        self.publisher = Publisher(self.store)
        #: Ids of this process's own sessions: nobody here may ask whether they live, since a
        #: process never conflicts with its own locks.
        self.own_session_ids: set[int] = set()
        #: Weak: a connection that its user forgot to close must not hold its leases for ever.
        self._sessions: weakref.WeakValueDictionary[int, Session] = weakref.WeakValueDictionary()
        #: Sessions whose connection was collected. Ended by the keeper: collection happens at any
        #: moment and on any thread, where taking locks is not an option.
        self._forgotten: deque[int] = deque()
        self._keeper: Keeper | None = None
        self._lock = threading.Lock()
        self.store.on_retired(self.wake_own_sessions)
        self.store.on_commit = self._note_commit

    @staticmethod
    def at(files: BrokerFiles) -> "Broker":
        """Return this process's broker for a file; a new one if the old one's file is gone."""
        with _brokers_lock:
            broker = _brokers.get(files.database)
            if broker is None or broker.store.retired or broker.store.retire_if_moved():
                broker = _brokers[files.database] = Broker(files)
            return broker

    def start_session(self, options: Options) -> Session:
        """Return a new session, known to all processes and kept alive by this one."""
        store = self.store
        with store.transaction(busy_seconds=options.busy_seconds) as db:
            session_id = sessions.insert(db, options.lease_seconds, store.clock.monotonic())
            # Both before the commit: whoever sees the row must find the byte locked, and no
            # thread of this process may try that byte.
            self.own_session_ids.add(session_id)
            store.live.try_lock(lock_byte(session_id))
        session = Session(session_id, store, options)
        weakref.finalize(session, self._forgotten.append, session_id).atexit = False
        with self._lock:
            self._sessions[session_id] = session
            if self._keeper is None or not self._keeper.is_alive():
                self._keeper = Keeper(self, options)
                self._keeper.start()
        return session

    def end_session(self, session: Session, undelivered: Iterable[int]) -> None:
        """Give back what a session holds, and forget it. Its resources are freed in any case.

        Raises:
            BrokerBusy, BrokerUnavailable: its messages come back when others see it is gone.
        """
        store = self.store
        if store.inherited:
            return  # session, socket and locks are the parent's
        try:
            if not store.retired:
                with store.transaction(busy_seconds=session.options.busy_seconds) as db:
                    queue_ids = sessions.end(db, session.id, store.clock.now(), undelivered)
                self.publisher.wake_consumers(queue_ids)
        finally:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.id, None)
            if not self._sessions and not self._forgotten and self._keeper is not None:
                self._keeper.stop()
                self._keeper = None
        session.wakeups.close()
        self._disown(session.id)

    def _disown(self, session_id: int) -> None:
        self.store.live.unlock(lock_byte(session_id))
        self.own_session_ids.discard(session_id)

    def end_forgotten_sessions(self) -> None:
        """Give back what connections held that were never closed."""
        while self._forgotten:
            session_id = self._forgotten.popleft()
            if session_id not in self.own_session_ids:
                continue  # it was closed after all
            try:
                self._end(session_id)
            except BaseException:
                self._forgotten.append(session_id)  # for the next tick
                raise
            self._disown(session_id)

    def renew_sessions(self) -> None:
        """Have the leases of this process's sessions last for another ``lease_seconds``."""
        with self._lock:
            living = [session for session in self._sessions.values() if not session.is_lost]
        if not living:
            return
        with self.store.transaction(busy_seconds=living[0].options.busy_seconds) as db:
            now = self.store.clock.monotonic()
            lost = [session for session in living if not sessions.renew(db, session.id, now)]
        for session in lost:
            session.is_lost = True
            session.wakeups.wake()

    def end_dead_sessions(self, expired: Iterable[int] = ()) -> None:
        """Give back what sessions of dead processes hold, and those named here.

        Costs 2 us for each living session of another process.
        """
        store = self.store
        others = {row[0] for row in store.read("SELECT id FROM session")} - self.own_session_ids
        expired = others.intersection(expired)
        for session_id in others:
            byte = lock_byte(session_id)
            is_dead = store.live.try_lock(byte)
            if is_dead or session_id in expired:
                self._end(session_id)
            if is_dead:
                store.live.unlock(byte)

    def _end(self, session_id: int) -> None:
        store = self.store
        with store.transaction(busy_seconds=_BUSY_SECONDS) as db:
            queue_ids = sessions.end(db, session_id, store.clock.now())
        self.publisher.forget_session(session_id)
        self.publisher.wake_consumers(queue_ids)

    def _note_commit(self) -> None:
        # Without a session SQLite carries the log over itself, later and in the way.
        keeper = self._keeper
        if keeper is not None:
            keeper.note_commit()

    def expect_due(self, due_at: float) -> None:
        """Have delayed messages looked at no later than this (seconds since 1970)."""
        keeper = self._keeper
        if keeper is not None:
            keeper.expect_due(due_at)

    @property
    def has_strays(self) -> bool:
        """Whether a session of this process may have leases that its consumers do not know of."""
        return any(session.has_strays for session in list(self._sessions.values()))

    def wake_own_sessions(self) -> None:
        """Have every session of this process look for messages, and at its own state."""
        for session in list(self._sessions.values()):
            session.wakeups.wake()


#: Patience of repairs, which no caller waits for.
_BUSY_SECONDS: Final = 30.0

#: Weak: with the last connection of this process the file is closed.
_brokers: weakref.WeakValueDictionary[str, Broker] = weakref.WeakValueDictionary()
_brokers_lock = threading.Lock()


def _after_fork_in_child() -> None:
    global _brokers_lock
    _brokers_lock = threading.Lock()  # another thread may have held it


os.register_at_fork(after_in_child=_after_fork_in_child)
