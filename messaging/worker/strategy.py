"""How a message gets from the broker to the pool: the strategy of the task `messaging.deliver`.

Celery documents ``Task.Strategy`` as the place to decide this. Celery's own builds a ``Request``
and runs a tracer, for canvas, retries, result backends and ETA: features that the bus has better
ones for, or that lose messages. Messages stay plain Celery messages.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from kombu.message import Message

from messaging.codec import decode
from messaging.custody.arrival import Arrival, arrival_of
from messaging.envelope import Envelope
from messaging.errors import DecodeError
from messaging.outcome import Outcome
from messaging.receiver import Receiver
from messaging.worker.delivery import Delivery

#: In billiard's text about a child that is gone.
_KILLER: Final = re.compile(r"signal \d+( \(\w+\))?|exitcode -?\d+")
#: By service name, for the children of a prefork pool: they inherit it, and what travels to them
#: must be picklable, which a receiver is not.
RECEIVERS: dict[str, Receiver] = {}


def receive(service: str, envelope: Envelope, arrival: Arrival) -> Outcome:
    """Handle one delivery in a thread or process of the pool."""
    return RECEIVERS[service].receive(envelope, arrival)


def deliver_strategy(task: Any, app: Any, consumer: Any) -> Callable[..., None]:
    """Return the function that Celery calls with every message of this task."""
    service = app.communicator.name
    limit = app.communicator.bus.config.max_message_bytes
    pool = consumer.pool

    def on_delivery(message: Message, _payload: Any, *_ack_reject_callbacks: Any) -> None:
        envelope = _read(message, limit)
        delivery = Delivery(message, envelope, consumer)
        delivery.reserve()

        def finish(outcome: Outcome) -> None:
            consumer.loop_calls.call(partial(delivery.finish, outcome))

        def lost(error: Any) -> None:
            # The child died or was killed. Nothing is settled: the broker delivers it again.
            text = str(getattr(error, "exception", error))
            killer = _KILLER.search(text)
            consumer.note_death(envelope, killer[0] if killer else "an unknown cause")
            finish(Outcome(is_settled=False, error=text))

        pool.apply_async(
            receive,
            args=(service, envelope, arrival_of(message)),
            accept_callback=delivery.accept,
            callback=finish,
            error_callback=lost,
            correlation_id=delivery.id,
        )

    return on_delivery


def _read(message: Message, limit: int) -> Envelope:
    """Return the envelope in a message.

    Raises:
        DecodeError: it is none; the consumer parks it.
    """
    size = len(message.body)
    if size > limit:
        raise DecodeError(f"{size} bytes, the limit is {limit}", reason="too_large")
    if message.content_type != "application/json":
        raise DecodeError(f"content type {message.content_type!r} is not accepted")
    return decode(message.body)
