"""Claiming ahead: what the consumers of one connection may take goes into a buffer."""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from messaging.errors import LeaseLost
from messaging.transport import leases, statements
from messaging.transport.broker import Broker
from messaging.transport.errors import ConsumerCancelled
from messaging.transport.messages import Incoming, taken_over
from messaging.transport.options import Options
from messaging.transport.qos import Unsettled
from messaging.transport.sessions import Session

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True, kw_only=True)
class Consumer:
    """One ``basic.consume`` of one channel."""

    queue_id: int
    tag: str
    unsettled: Unsettled
    #: Called with each message, on the thread that drains.
    deliver: Callable[[Incoming, str], Any]
    no_ack: bool
    #: Claim without a lease: who does not acknowledge, on a queue nobody else will read.
    takes: bool
    #: Told when the queue is deleted; without it the connection fails instead.
    on_cancel: Callable[[str], Any] | None


#: With a full window, so much of it is settled and claimed anew in one transaction: a quarter. The
#: consumer has the rest in hand meanwhile.
_SHARE: Final = 4

#: A consumer and what it is to be handed.
Delivery = tuple[Consumer, Incoming]


class Intake:
    """Consumers, their buffer, and acks that wait for the next claim to share its transaction.

    Acks may be added from any thread; everything else happens under `lock`.
    """

    def __init__(self, broker: Broker, options: Options) -> None:
        self.lock = threading.RLock()
        self.consumers: list[Consumer] = []
        self.buffer: deque[Delivery] = deque()
        self.acks: deque[int] = deque()
        self._broker = broker
        self._options = options
        self._topology = 0
        #: Whether the last claim filled a window, or found expired messages: there may be more.
        #: Otherwise the queues were empty, and who publishes after that wakes this session.
        self.may_have_more = False

    def fill(self, session: Session) -> bool:
        """Flush acks and claim for every consumer, in one transaction, or none if none is needed.

        Returns:
            Whether there are messages to deliver.

        Raises:
            SessionLost, ConsumerCancelled, BrokerUnavailable, BrokerBusy: connect again.
        """
        with self.lock:
            session.check()
            while not self.buffer:
                hungry = self._hungry()
                if not hungry and not self.acks:
                    return False
                self._claim(session, hungry)  # and again, should all that it got be expired
            if self.acks:
                self._claim(session, self._hungry())
            return True

    def acks_may_wait(self) -> bool:
        """Return whether no consumer is short of messages for want of the acks that wait."""
        # Acknowledged messages have left the window already, but their acks are what is in
        # question: counted as held, or a full window with a backlog behind it would wait.
        waiting = len(self.acks)
        return all(
            waiting < self._window(consumer)
            or waiting * _SHARE < consumer.unsettled.prefetch_count
            for consumer in self.consumers
            if not consumer.no_ack
        )

    def take_over(self, datagram: bytes) -> int:
        """Put a message that was handed over into the buffer.

        Returns:
            0, or the id of a message that nobody here wants: its lease has to be given back.
        """
        queue_id, message = taken_over(datagram)
        with self.lock:
            for consumer in self.consumers:
                if consumer.queue_id == queue_id and consumer.takes == (not message.id):
                    if message.id and not consumer.unsettled.can_consume():
                        break  # its window has become smaller meanwhile
                    if message.id:
                        consumer.unsettled.add(message.id)
                    self.buffer.append((consumer, message))
                    return 0
        if not message.id:
            # Its consumer has left meanwhile, and the queue with it.
            logger.debug("dropped a message for queue %d, which is gone", queue_id)
        return message.id

    def next_delivery(self) -> Delivery | None:
        """Take the next delivery from the buffer, past those that expired in it."""
        while self.buffer:
            try:
                consumer, message = self.buffer.popleft()
            except IndexError:
                break  # another thread took the last one
            if not self._drop_expired(consumer, message, self._broker.store.clock.now()):
                return consumer, message
        return None

    def withdraw(self, consumer: Consumer) -> list[int]:
        """Forget a consumer; return the messages it was not handed yet and has a lease on."""
        self.consumers = [each for each in self.consumers if each is not consumer]
        mine = [message.id for owner, message in self.buffer if owner is consumer]
        self.buffer = deque(entry for entry in self.buffer if entry[0] is not consumer)
        for message_id in mine:
            consumer.unsettled.remove(message_id)
        return mine

    def take_acks(self) -> list[int]:
        """Return the acks that wait, for a transaction that is about to make them."""
        ids = []
        while self.acks:
            ids.append(self.acks.popleft())
        return ids

    def clear(self) -> list[int]:
        """Forget all consumers; return the messages that were not handed to them."""
        undelivered = [message.id for _, message in self.buffer]
        self.consumers.clear()
        self.buffer.clear()
        return undelivered

    def _hungry(self) -> list[Consumer]:
        """Return the consumers that may take more and whose queue has something."""
        waiting = [each for each in self.consumers if self._window(each)]
        ids = repr([consumer.queue_id for consumer in waiting])
        ((topology, due_at, ready),) = self._broker.store.read(statements.LOOK, {"ids": ids})
        if due_at is not None:
            self._broker.expect_due(due_at)
        if topology != self._topology:
            self._topology = topology
            self._notice_deleted_queues()
        if ready == "[]":
            return []
        queue_ids = set(json.loads(ready))
        return [each for each in waiting if each.queue_id in queue_ids and each in self.consumers]

    def _window(self, consumer: Consumer) -> int:
        if consumer.no_ack:  # no prefetch limit applies; do not buffer more than a batch
            return 0 if self.buffer else self._options.claim_batch
        return consumer.unsettled.window(self._options.claim_batch)

    def _claim(self, session: Session, hungry: list[Consumer]) -> None:
        acks = self.take_acks()
        claimed: list[tuple[Consumer, list[leases.Claimed]]] = []
        taken: list[Delivery] = []
        any_full = False
        try:
            transaction = self._broker.store.transaction(busy_seconds=self._options.busy_seconds)
            with transaction as db:
                session.confirm(db)
                lost = leases.acknowledge(db, session.id, acks)
                for consumer in hungry:
                    limit = self._window(consumer)
                    if consumer.takes:
                        messages = leases.take(db, consumer.queue_id, limit)
                        any_full |= len(messages) == limit
                        taken += [(consumer, message) for message in messages]
                    elif limit:
                        batch = leases.claim(db, consumer.queue_id, session.id, limit)
                        any_full |= len(batch) == limit
                        claimed.append((consumer, batch))
                        _hold(consumer, batch)
        except BaseException:
            # Rolled back: nothing is ours, and the acks still have to be made.
            for consumer, batch in claimed:
                for message in batch:
                    consumer.unsettled.remove(message.id)
            self.acks.extendleft(reversed(acks))
            raise
        report_lost(lost)
        self.may_have_more = any_full
        # Whoever was served goes to the end: consumers of one channel share its window.
        self.consumers = [each for each in self.consumers if each not in hungry] + hungry
        self._fill_buffer(claimed, taken)

    def _fill_buffer(
        self, claimed: list[tuple[Consumer, list[leases.Claimed]]], taken: list[Delivery]
    ) -> None:
        # Bodies are read after the commit: they are ours and never change, and nobody waits.
        with self._broker.store.connection() as db:
            for consumer, batch in claimed:
                taken += [(consumer, message) for message in leases.read(db, batch)]
        now = self._broker.store.clock.now()
        for consumer, message in taken:
            if not self._drop_expired(consumer, message, now):
                self.buffer.append((consumer, message))

    def _drop_expired(self, consumer: Consumer, message: Incoming, now: float) -> bool:
        if message.expires_at is None or message.expires_at > now:
            return False
        if not consumer.takes:
            consumer.unsettled.remove(message.id)
            self.acks.append(message.id)
        return True

    def _notice_deleted_queues(self) -> None:
        """Cancel consumers whose queue is gone."""
        ids = repr([consumer.queue_id for consumer in self.consumers])
        rows = self._broker.store.read(
            "SELECT value FROM json_each(:ids) WHERE value NOT IN (SELECT id FROM queue)",
            {"ids": ids},
        )
        gone = {row[0] for row in rows}
        for consumer in [each for each in self.consumers if each.queue_id in gone]:
            self.withdraw(consumer)  # its messages went with the queue
            if consumer.on_cancel is None:
                raise ConsumerCancelled(f"the queue of consumer {consumer.tag!r} was deleted")
            consumer.on_cancel(consumer.tag)


def _hold(consumer: Consumer, batch: Iterable[leases.Claimed]) -> None:
    if not consumer.no_ack:
        for message in batch:
            consumer.unsettled.add(message.id)


def report_lost(tags: Iterable[int]) -> None:
    """Say in the log that a delivery was settled too late: who could be told is gone."""
    for tag in tags:
        logger.warning("%s: it was settled too late", LeaseLost(tag))
