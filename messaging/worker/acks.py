"""Acknowledging: many messages by one word to the broker, where it understands that."""

import logging
from typing import Final

from kombu.message import Message

logger = logging.getLogger(__name__)


class Acks:
    """What one channel has delivered and is not settled. Used where the connection lives.

    AMQP settles a message and all that came before it on the channel with one frame. That is what
    is sent when those before it are done as well, which with short handlers they are.

    Args:
        errors: what a broken connection raises; the broker delivers again then.
        has_multiple: whether the broker can do that, at a gain.
    """

    def __init__(self, errors: tuple[type[Exception], ...], *, has_multiple: bool) -> None:
        self._errors: Final = errors
        self._has_multiple: Final = has_multiple
        #: By delivery tag, in the order of delivery.
        self._held: dict[int, Message] = {}
        self._done: set[int] = set()

    def hold(self, message: Message) -> None:
        """Take note of a delivery; of each, since acknowledging many takes in all of them."""
        if self._has_multiple:
            self._held[message.delivery_tag] = message

    def done(self, message: Message) -> None:
        """Acknowledge a delivery; at the next `flush`, with many at a time."""
        tag = message.delivery_tag
        if self._held.get(tag) is message:
            self._done.add(tag)
        else:
            # All brokers but one; and what came on a channel that is gone.
            self._acknowledge(message)

    def requeue(self, message: Message) -> None:
        """Give a delivery back to the broker.

        Raises:
            Exception: one of `errors`.
        """
        message.reject(requeue=True)
        tag = message.delivery_tag
        if self._held.get(tag) is message:
            del self._held[tag]

    def flush(self) -> None:
        """Acknowledge what is done."""
        if not self._done:
            return
        last = None
        for tag in tuple(self._held):
            if tag not in self._done:
                break
            self._done.remove(tag)
            last = self._held.pop(tag)
        if last is not None:
            self._acknowledge(last, multiple=True)
        while self._done:
            self._acknowledge(self._held.pop(self._done.pop()))

    def _acknowledge(self, message: Message, *, multiple: bool = False) -> None:
        message.ack_log_error(logger, self._errors, multiple=multiple)
