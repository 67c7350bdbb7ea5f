"""Consuming on one connection: deliver from the buffer, settle, give back."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from messaging.errors import LeaseLost
from messaging.transport import declarations, leases
from messaging.transport.broker import Broker
from messaging.transport.errors import SessionLost
from messaging.transport.intake import Consumer, Intake, report_lost
from messaging.transport.messages import Incoming
from messaging.transport.options import Options
from messaging.transport.qos import Unsettled
from messaging.transport.sessions import Session

#: A blocked consumer looks by itself this often, should all wake-ups fail.
_LONGEST_WAIT_SECONDS: Final = 5.0
#: Messages purged in one transaction: about 30 ms of the write lock.
_PURGED_AT_ONCE: Final = 2000


class Consumption:
    """The consuming half of a connection. One thread drains; any thread settles."""

    def __init__(self, broker: Broker, options: Options) -> None:
        self.broker = broker
        #: Acks wait for the next claim, to share its transaction; set by the event loop's glue.
        self.defers_acks = False
        #: Called when there is something to do for whoever drains.
        self.on_work: Callable[[], None] = self._wake_drain
        #: Called when acks wait to be flushed.
        self.on_ack: Callable[[], None] = self._wake_drain
        self.options = options
        #: Whether a thread has begun to look for messages and may be about to wait.
        self._is_looking = False
        self._intake = Intake(broker, options)
        self._session: Session | None = None
        self._session_lock = threading.Lock()

    @property
    def session(self) -> Session:
        """This connection's session, started when first needed: who only publishes has none."""
        with self._session_lock:
            if self._session is None:
                self._session = self.broker.start_session(self.options)
            return self._session

    @property
    def acks_may_wait(self) -> bool:
        """Whether all consumers have enough to do before the acks that wait are made."""
        return self._intake.acks_may_wait()

    @property
    def session_id(self) -> int | None:
        """The id of the session, None if there is none yet."""
        return None if self._session is None else self._session.id

    @property
    def has_consumers(self) -> bool:
        """Whether anybody waits for messages on this connection."""
        return bool(self._intake.consumers)

    @property
    def has_buffered(self) -> bool:
        """Whether there is something to deliver without a look at the file."""
        return bool(self._intake.buffer)

    @property
    def may_have_more(self) -> bool:
        """Whether something is buffered, or left by the last claim, that no wake-up tells of."""
        return self.has_buffered or self._intake.may_have_more

    def add(self, consumer: Consumer) -> None:
        """Start to claim for a consumer."""
        session = self.session
        with self._intake.lock:
            with self._transaction() as db:
                session.confirm(db)
                declarations.add_consumer(
                    db, consumer.queue_id, session.id, consumer.tag, takes=consumer.takes
                )
            self._intake.consumers.append(consumer)
        self.on_work()

    def remove(self, consumer: Consumer) -> None:
        """Stop to claim for a consumer, and give back what it was not handed yet."""
        with self._intake.lock:
            if consumer in self._intake.consumers:
                self._give_back([consumer], [])

    def release(self, unsettled: Unsettled) -> None:
        """Stop all consumers of a channel, and give back all that it holds."""
        with self._intake.lock:
            leaving = [each for each in self._intake.consumers if each.unsettled is unsettled]
            if leaving or len(unsettled):
                self._give_back(leaving, [unsettled])

    def _give_back(self, leaving: list[Consumer], holders: list[Unsettled]) -> None:
        """``leased --> ready`` in one transaction, with the acks that wait."""
        withdrawn = [each for consumer in leaving for each in self._intake.withdraw(consumer)]
        held = [tag for unsettled in holders for tag in unsettled.take_all()]
        session, store = self._session, self.broker.store
        if session is None or session.is_lost or store.retired:
            return  # others have it all, or there is no file to give it back to
        now = store.clock.now()
        with self._transaction() as db:
            report_lost(leases.acknowledge(db, session.id, self._intake.take_acks()))
            queue_ids = leases.requeue(db, session.id, withdrawn, now, delivered=False)
            queue_ids |= leases.requeue(db, session.id, held, now, delivered=True)
            for consumer in leaving:
                declarations.remove_consumer(db, consumer.queue_id, session.id, consumer.tag, now)
        self.broker.publisher.wake_consumers(queue_ids)

    def drain(self, timeout_seconds: float | None) -> None:
        """Wait for one message and deliver it. Raises TimeoutError if none came in time."""
        monotonic, wakeups = self.broker.store.clock.monotonic, self.session.wakeups
        deadline = None if timeout_seconds is None else monotonic() + timeout_seconds
        while not self.deliver_one():
            # In this order no wake-up is lost: what is sent after the look ends the wait.
            self._is_looking = True
            self.take_wakeups()
            if not self.has_buffered and not self.pump():
                remaining = _LONGEST_WAIT_SECONDS if deadline is None else deadline - monotonic()
                if remaining <= 0:
                    raise TimeoutError("no message in time")
                wakeups.wait(min(remaining, _LONGEST_WAIT_SECONDS))
            self._is_looking = False

    def take_wakeups(self) -> None:
        """Take all pending wake-ups and what was handed over with them. `pump` after this."""
        for datagram in self.session.wakeups.drain():
            self._intake.take_over(datagram)

    def wake(self) -> None:
        """Have whoever waits for this connection look again. From any thread."""
        session = self._session
        if session is not None:
            session.wakeups.wake()

    def _wake_drain(self) -> None:
        """Have another thread look again that is in `drain`: its window may have opened."""
        if self._is_looking:
            self.wake()

    def deliver_one(self) -> bool:
        """Hand the next buffered message to its consumer; return whether there was one."""
        delivery = self._intake.next_delivery()
        if delivery is None:
            return False
        consumer, message = delivery
        if consumer.no_ack and not consumer.takes:
            self.acknowledge([message.id])
        consumer.deliver(message, consumer.tag)
        return True

    def pump(self) -> bool:
        """Flush acks and claim; return whether there is something to deliver (`Intake.fill`)."""
        return self._intake.fill(self.session)

    def flush_acks(self) -> None:
        """Make the acks that wait. They are kept if that fails."""
        with self._intake.lock:
            session = self._session
            if session is None or not self._intake.acks:
                return
            session.check()
            acks = self._intake.take_acks()
            try:
                with self._transaction() as db:
                    report_lost(leases.acknowledge(db, session.id, acks))
            except BaseException:
                self._intake.acks.extendleft(reversed(acks))
                raise

    def acknowledge(self, ids: Sequence[int]) -> None:
        """``leased --> (deleted)``: at once, or with the next claim where acks are deferred.

        Raises:
            LeaseLost: acks are not deferred, and others have ended the session.
            BrokerBusy, BrokerUnavailable: not acknowledged; may be tried again.
        """
        if self.defers_acks:
            self._intake.acks.extend(ids)
            self.on_ack()
            return
        session = self.session
        with self._transaction() as db:
            lost = leases.acknowledge(db, session.id, ids)
            report_lost(lost)
            if lost:
                # Only the session's end takes leases away, or the deletion of their queue, after
                # which there is nothing left to acknowledge.
                try:
                    session.confirm(db)
                except SessionLost as exc:
                    raise LeaseLost(lost[0]) from exc
        self.on_work()

    def requeue(self, ids: Sequence[int]) -> None:
        """``leased --> ready``, in front of what was sent later; for all to claim at once."""
        session, store = self.session, self.broker.store
        with self._transaction() as db:
            session.confirm(db)
            queue_ids = leases.requeue(db, session.id, ids, store.clock.now(), delivered=True)
        self.broker.publisher.wake_consumers(queue_ids)
        self.on_work()

    def recover(self, unsettled: Unsettled) -> None:
        """``leased --> ready`` for all that a channel was handed and has not settled."""
        with self._intake.lock:
            buffered = {message.id for _, message in self._intake.buffer}
            held = unsettled.take_all()
            for tag in buffered.intersection(held):
                unsettled.add(tag)
        self.requeue([tag for tag in held if tag not in buffered])

    def get(self, queue_id: int, *, no_ack: bool) -> Incoming | None:
        """Claim one message now, for ``basic.get``; None if there is none."""
        session, store = self.session, self.broker.store
        while True:
            with self._transaction() as db:
                session.confirm(db)
                declarations.touch_queue(db, queue_id, store.clock.now())
                if no_ack:
                    found = leases.take(db, queue_id, 1)
                else:
                    found = leases.read(db, leases.claim(db, queue_id, session.id, 1))
                if not found:
                    return None
                expires_at = found[0].expires_at
                if expires_at is None or expires_at > store.clock.now():
                    return found[0]
                leases.acknowledge(db, session.id, [found[0].id])  # expired: try the next one

    def purge(self, queue_id: int) -> int:
        """``ready --> (deleted)`` for all that waits in a queue now; return how many."""
        newest = self.broker.store.read("SELECT next_id FROM meta")[0][0]
        total = 0
        while True:
            with self._transaction() as db:
                purged = declarations.purge(db, queue_id, newest, _PURGED_AT_ONCE)
            total += purged
            if not purged:
                return total

    def close(self) -> None:
        """Flush acks and give everything back. This connection is dead afterwards."""
        with self._intake.lock:
            session = self._session
            undelivered = self._intake.clear()
            if session is None or self.broker.store.inherited:
                self._session = None
                return
            try:
                if not session.is_lost and not self.broker.store.retired:
                    self.flush_acks()
            finally:
                self._session = None
                report_lost(self._intake.take_acks())
                self.broker.end_session(session, undelivered)

    def _transaction(self) -> Any:
        return self.broker.store.transaction(busy_seconds=self.options.busy_seconds)
