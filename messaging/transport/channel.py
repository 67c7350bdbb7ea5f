"""kombu's words: publishing, consuming and settling on one channel."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

from messaging.errors import BrokerBusy, BrokerUnavailable, LeaseLost
from messaging.transport.batch import PublishBatch
from messaging.transport.entities import Entities
from messaging.transport.errors import PreconditionFailed
from messaging.transport.intake import Consumer
from messaging.transport.messages import Incoming, Outgoing, outgoing, payload
from messaging.transport.qos import Unsettled


class Channel(Entities):
    """One channel of a connection. As in AMQP, one thread at a time; acks may come from any.

    Every method that changes something has done so in the file when it returns. Raises the
    channel errors of `errors` (the connection stays good) or connection errors of the bus.
    """

    supports_fanout = True
    #: Bodies are stored as they are, text or bytes.
    body_encoding = None

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.no_ack_consumers: set[str] = set()
        self._unsettled = Unsettled()
        self._by_tag: dict[str, Consumer] = {}
        self._batch: PublishBatch | None = None

    @property
    def qos(self) -> Unsettled:
        """What was taken and not settled, and the prefetch limit."""
        return self._unsettled

    def basic_publish(
        self,
        message: Mapping[str, Any],
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        **kwargs: Any,
    ) -> None:
        """Store a message in all queues that take it; in a `batch`, keep it until that is written.

        On return other processes have it, whatever becomes of this one. With the message
        property ``durability="full"`` it also survives a power cut.

        Raises:
            NoRoute: mandatory, and no queue took it. NOT sent.
            NotFound: no such exchange. NOT sent.
            BrokerBusy, BrokerUnavailable: NOT sent; safe to send again.
            PublishUncertain: the file vanished while it was written.
        """
        row = outgoing(message, exchange or "", routing_key, mandatory)
        is_full = message["properties"].get("durability", self._options.durability) == "full"
        if self._batch is not None:
            self._batch.add(row, is_full=is_full)
        else:
            self._publish([row], is_full)

    def batch(self, max_size: int = 500) -> AbstractContextManager[PublishBatch]:
        """Return a context manager inside which messages are gathered and written together.

        One transaction for each max_size messages and one at the end. Those not yet written are
        dropped if the block raises. No transaction is open while the block runs.
        """
        return _Batching(self, self.create_publish_batch(max_size))

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        """Return what kombu's ``Producer.batch`` publishes through."""
        return PublishBatch(self, max_size, self._publish)

    def _publish(self, rows: list[Outgoing], is_full: bool) -> None:
        self._broker.publisher.publish(rows, full=is_full, busy_seconds=self._options.busy_seconds)

    def basic_qos(
        self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False
    ) -> None:
        """Limit how many messages this channel holds unsettled; 0 is no limit."""
        self._unsettled.prefetch_count = prefetch_count
        self._consumption.resize(self._unsettled)
        self._consumption.on_work()

    def basic_consume(
        self,
        queue: str,
        no_ack: bool = False,
        callback: Callable[[Any], Any] | None = None,
        consumer_tag: str = "",
        on_cancel: Callable[[str], Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """Have messages of a queue delivered to a callback by ``drain_events``; return the tag.

        Raises:
            NotFound: no such queue.
            ResourceLocked: exclusive to another connection.
        """
        found = self._find(queue)
        tag = consumer_tag or f"ctag-{uuid4()}"

        def deliver(message: Incoming, tag: str) -> Any:
            return (
                callback(self.Message(payload(message, tag), channel=self)) if callback else None
            )

        consumer = Consumer(
            queue_id=found.id,
            tag=tag,
            unsettled=self._unsettled,
            deliver=deliver,
            no_ack=bool(no_ack),
            takes=bool(no_ack) and found.dies_with_consumer,
            on_cancel=on_cancel,
        )
        if no_ack:
            self.no_ack_consumers.add(tag)
        self._by_tag[tag] = consumer
        self._consumption.add(consumer)
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """End a consumer; what it was not handed yet goes back. No such tag: nothing happens."""
        consumer = self._by_tag.pop(consumer_tag, None)
        self.no_ack_consumers.discard(consumer_tag)
        if consumer is not None:
            self._consumption.remove(consumer)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Return the next message of a queue, or None."""
        found = self._consumption.get(self._find(queue).id, no_ack=no_ack)
        if found is None:
            return None
        if not no_ack:
            self._unsettled.add(found.id)
        return self.Message(payload(found, ""), channel=self)

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Settle a delivery as done: its message is deleted.

        In Celery's event loop this happens within the same turn, together with the next claim.

        Raises:
            LeaseLost: others have or will have the message; it will be delivered again.
            BrokerBusy, BrokerUnavailable: not settled; may be tried again.
        """
        tags = self._take(delivery_tag, multiple=multiple)
        self._settle(tags, self._consumption.acknowledge)

    def basic_reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Settle a delivery as refused: its message goes back in front, or is deleted.

        Raises:
            LeaseLost, SessionLost: others have or will have the message.
            BrokerBusy, BrokerUnavailable: not settled; may be tried again.
        """
        consumption = self._consumption
        tags = self._take(delivery_tag, multiple=False)
        self._settle(tags, consumption.requeue if requeue else consumption.acknowledge)

    def _settle(self, tags: list[int], action: Callable[[list[int]], None]) -> None:
        try:
            action(tags)
        except (BrokerBusy, BrokerUnavailable):
            for tag in tags:
                self._unsettled.add(tag)
            raise
        finally:
            self._unsettled.end_settling(tags)

    def basic_recover(self, requeue: bool = True) -> None:
        """Give back all deliveries of this channel that are not settled, whatever requeue says."""
        self._consumption.recover(self._unsettled)

    def close(self) -> None:
        """End the consumers of this channel and give back what it holds. Idempotent."""
        if self.closed:
            return
        consumption = self._consumption
        try:
            if not self._broker.store.inherited:
                consumption.release(self._unsettled)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Forget everything without a word to the file: the connection does that, or is gone."""
        self.closed = True
        self._unsettled.take_all()
        self._by_tag.clear()
        self.connection.close_channel(self)

    def _take(self, tag: int, *, multiple: bool) -> list[int]:
        if self.closed:
            raise LeaseLost(tag)
        tags = self._unsettled.take(tag, multiple=multiple)
        if not tags:
            raise PreconditionFailed(f"PRECONDITION_FAILED - unknown delivery tag {tag}")
        return tags


class _Batching:
    """``with channel.batch()``: sends the channel's publishing through a batch meanwhile."""

    def __init__(self, channel: Channel, batch: PublishBatch) -> None:
        self._channel = channel
        self._batch = batch

    def __enter__(self) -> PublishBatch:
        self._channel._batch = self._batch
        return self._batch

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._channel._batch = None
        if kind is None:
            self._batch.flush()
