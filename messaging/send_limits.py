"""How much one process may send, and how long the queue of a service may become.

For what goes wrong: a loop that sends without an end, a service that handles less than it is sent.
"""

import threading
from typing import TYPE_CHECKING, Final

from messaging.envelope import Envelope, MessageKind
from messaging.errors import QueueFull, TooManyMessages

if TYPE_CHECKING:
    from messaging.bus import MessageBus

#: The length of a queue is asked for so often; meanwhile each process may send on.
LOOK_SECONDS: Final = 1.0
#: What may be sent at once after a pause, in seconds of the rate.
BURST_SECONDS: Final = 1.0


class SendLimits:
    """The limits of one process. Thread-safe."""

    def __init__(self, bus: "MessageBus") -> None:
        self._bus = bus
        self._rate = bus.config.send_rate
        self._most = bus.config.max_queue_length
        self._lock = threading.Lock()
        self._tokens = self._rate * BURST_SECONDS
        self._filled_at = bus.clock.monotonic()
        #: Queues by target: until when what is known holds, and how long they were.
        self._lengths: dict[str, tuple[float, int]] = {}

    def check_rate(self) -> None:
        """Count a message that is about to be sent.

        Raises:
            TooManyMessages: over ``send_rate``. NOT sent; safe to send again, later.
        """
        if not self._rate:
            return
        with self._lock:
            now = self._bus.clock.monotonic()
            filled = self._tokens + (now - self._filled_at) * self._rate
            self._tokens = min(filled, max(1.0, self._rate * BURST_SECONDS))
            self._filled_at = now
            if self._tokens < 1.0:
                raise TooManyMessages(self._rate)
            self._tokens -= 1.0

    def check_queue(self, envelope: Envelope) -> None:
        """Make sure that there is room for a command that goes straight to the broker.

        What an outbox keeps is not held up by a queue: that is what an outbox is for. An event has
        many queues, and is not refused for one of them.

        Raises:
            QueueFull: ``max_queue_length`` messages wait there. NOT sent; safe to send again.
            BrokerUnavailable: nobody can tell. NOT sent; safe to send again.
        """
        if not self._most or envelope.kind is not MessageKind.COMMAND:
            return
        target, now = envelope.target, self._bus.clock.monotonic()
        until, length = self._lengths.get(target, (0.0, 0))
        if now >= until:
            with self._bus.publisher() as publisher:
                length = publisher.queue_length(self._bus.topology.queue_name(target)) or 0
            self._lengths[target] = now + LOOK_SECONDS, length
        if length >= self._most:
            raise QueueFull(target, length)
