"""Consuming on one connection: deliver from the buffer, settle, give back."""

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from messaging.errors import LeaseLost
from messaging.transport import declarations, leases
from messaging.transport.broker import Broker
from messaging.transport.errors import SessionLost
from messaging.transport.handing import Strays, set_room
from messaging.transport.intake import Consumer, Intake, report_lost
from messaging.transport.messages import Incoming
from messaging.transport.options import Options
from messaging.transport.qos import Unsettled
from messaging.transport.sessions import Session

#: A blocked consumer looks by itself this often, should all wake-ups fail.
_LONGEST_WAIT_SECONDS: Final = 5.0


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
        #: What the channels of this connection hold.
        self._holders: weakref.WeakSet[Unsettled] = weakref.WeakSet()
        self._strays = Strays(broker.store, self._known_leases)
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
                    db,
                    consumer.queue_id,
                    session.id,
                    consumer.tag,
                    takes=consumer.takes,
                    room=self._room_of(consumer),
                )
            self._holders.add(consumer.unsettled)
            self._intake.consumers.append(consumer)
        self.on_work()

    def resize(self, unsettled: Unsettled) -> None:
        """Tell publishers how many messages the consumers of a channel may hold now."""
        with self._intake.lock:
            concerned = [each for each in self._intake.consumers if each.unsettled is unsettled]
            if not self.options.takes_handed or not concerned:
                return
            with self._transaction() as db:
                for each in concerned:
                    set_room(db, each.queue_id, self.session.id, each.tag, self._room_of(each))

    def _room_of(self, consumer: Consumer) -> int:
        if not self.options.takes_handed or consumer.no_ack:
            return 0
        return consumer.unsettled.prefetch_count or self.options.claim_batch

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
            if leaving and self.options.takes_handed:
                # Handed to those who leave, and on its way: whoever reads it is gone by then.
                strays = self._strays.among(db, session.id)
                queue_ids |= leases.requeue(db, session.id, strays, now, delivered=False)
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

    def take_wakeups(self) -> bool:
        """Take all pending wake-ups and what was handed over with them.

        Returns:
            Whether somebody said to look into the file: `pump` after this.
        """
        handed, looks = self.session.wakeups.drain()
        unwanted = [message_id for each in handed if (message_id := self._intake.take_over(each))]
        if unwanted:
            self.requeue(unwanted, delivered=False)
        if self.options.takes_handed and (lost := self._strays.look(self.session)):
            self.requeue(lost, delivered=False)
        return looks

    def _known_leases(self) -> set[int]:
        known = set(self._intake.acks)
        for holder in list(self._holders):
            known |= holder.leased()
        return known

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

    def requeue(self, ids: Iterable[int], *, delivered: bool = True) -> None:
        """``leased --> ready``, in front of what was sent later; for all to claim at once."""
        session, store = self.session, self.broker.store
        with self._transaction() as db:
            session.confirm(db)
            now = store.clock.now()
            queue_ids = leases.requeue(db, session.id, ids, now, delivered=delivered)
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
