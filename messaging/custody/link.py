"""What custody says to the broker beside publishing: receipts, questions, the marker, lengths."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kombu import Queue

from messaging.custody.receipts import (
    MOST_ENTRIES,
    Entry,
    Question,
    ask_message,
    receipt_message,
)
from messaging.publisher import Addressed
from messaging.wire import PERSISTENT, WireMessage

if TYPE_CHECKING:
    from messaging.bus import MessageBus


class Link:
    """Everything here raises BrokerError or PublishError where the broker does not do it.

    Args:
        bus: whose connections are used.
    """

    def __init__(self, bus: "MessageBus") -> None:
        self._bus = bus

    def tell(self, custodian: str, service: str, entries: Sequence[Entry]) -> None:
        """Tell a custodian what became of its messages at a service."""
        for start in range(0, len(entries), MOST_ENTRIES):
            message = receipt_message(
                service, entries[start : start + MOST_ENTRIES], self._bus.keyring
            )
            self._send(custodian, message)

    def ask(self, custodian: str, target: str, questions: Sequence[Question]) -> None:
        """Ask a receiver what became of a custodian's messages."""
        for start in range(0, len(questions), MOST_ENTRIES):
            message = ask_message(
                custodian, questions[start : start + MOST_ENTRIES], self._bus.keyring
            )
            self._send(target, message)

    def queue_length(self, service: str) -> int:
        """Return how many messages wait for a service; 0 if its queue is missing."""
        with self._bus.publisher() as publisher:
            return publisher.queue_length(self._bus.topology.queue_name(service)) or 0

    def declare(self, queue: Queue) -> None:
        """Have a queue exist, bound to what it takes."""
        with self._bus.publisher() as publisher:
            publisher.declare(queue)

    def has_marker(self, epoch: str) -> bool:
        """Return whether the broker still has the marker of this epoch, and its message."""
        with self._bus.publisher() as publisher:
            return bool(publisher.queue_length(self._bus.topology.epoch_queue(epoch).name))

    def make_marker(self, epoch: str) -> None:
        """Put the marker of an epoch on the broker."""
        queue = self._bus.topology.epoch_queue(epoch)
        message = WireMessage("{}", {}, {"delivery_mode": PERSISTENT}, priority=0)
        with self._bus.publisher() as publisher:
            publisher.publish(Addressed(message, "", queue.name, queue, mandatory=True))

    def remove_marker(self, epoch: str) -> None:
        """Take a marker away that another relay was faster to make."""
        with self._bus.publisher() as publisher:
            publisher.delete_queue(self._bus.topology.epoch_queue(epoch).name)

    def _send(self, service: str, message: WireMessage) -> None:
        queue = self._bus.topology.custody_queue(service)
        with self._bus.publisher() as publisher:
            publisher.publish(Addressed(message, "", queue.name, queue, mandatory=True))
