"""How a message gets from the broker to the pool: the strategy of the task `messaging.deliver`.

Celery documents ``Task.Strategy`` as the place to decide this. Celery's own builds a ``Request``
and runs a tracer, for canvas, retries, result backends and ETA: features that the bus has better
ones for, or that lose messages. Messages stay plain Celery messages.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from kombu.message import Message

from messaging.custody.arrival import Arrival, arrival_of
from messaging.envelope import Envelope
from messaging.incoming import read
from messaging.outcome import Outcome
from messaging.receiver import Receiver
from messaging.registration import HEALTH_CHECK
from messaging.worker.delivery import Delivery
from messaging.worker.pool import ThreadPool

logger = logging.getLogger(__name__)

#: In billiard's text about a child that is gone.
_KILLER: Final = re.compile(r"signal \d+( \(\w+\))?|exitcode -?\d+")
#: By service name, for the children of a prefork pool: they inherit it, and what travels to them
#: must be picklable, which a receiver is not.
RECEIVERS: dict[str, Receiver] = {}


def receive(
    service: str, envelope: Envelope, arrival: Arrival, health: Mapping[str, Any] | None = None
) -> Outcome:
    """Handle one delivery in a process of the pool.

    Args:
        service: whose.
        envelope: the message.
        arrival: how it came.
        health: with a health check: how the worker is, which its children cannot know.
    """
    receiver = RECEIVERS[service]
    if health is not None:
        receiver.speak_for(health)
    return receiver.receive(envelope, arrival)


def deliver_strategy(task: Any, app: Any, consumer: Any) -> Callable[..., None]:
    """Return the function that Celery calls with every message of this task."""
    hand_over = _to_thread if isinstance(consumer.pool, ThreadPool) else _to_process
    communicator = app.communicator
    bus, service = communicator.bus, communicator.name

    def on_delivery(message: Message, *_: Any) -> None:
        delivery = Delivery(message, read(message, bus, service), consumer)
        delivery.reserve()
        hand_over(delivery)

    return on_delivery


def _to_thread(delivery: Delivery) -> None:
    """Have one of this process's threads handle a delivery."""
    consumer = delivery.consumer
    receiver, pid = RECEIVERS[consumer.app.communicator.name], os.getpid()
    arrival = arrival_of(delivery.message)
    expected = receiver.expect(consumer.run_groups, delivery.envelope, arrival)

    def run() -> Callable[[], None]:
        delivery.accept(pid, 0.0)
        try:
            outcome = receiver.receive(delivery.envelope, arrival, expected)
        except BaseException as exc:
            # What ends threads and programs, raised by a handler: the message comes again.
            logger.exception("%s %s ended its handler's thread", delivery.name, delivery.id)
            outcome = Outcome(is_settled=False, error=repr(exc))
        return delivery.ended(outcome)

    def give_back() -> None:
        if expected is None:
            delivery.give_back()
        else:
            again = partial(consumer.loop_calls.call, delivery.give_back)
            consumer.run_groups.give_back(expected, again)

    consumer.pool.submit(run, give_back, delivery)


def _to_process(delivery: Delivery) -> None:
    """Have Celery's pool handle a delivery: a child process, or the event loop itself."""
    consumer = delivery.consumer
    communicator, load = consumer.app.communicator, consumer.load

    def accepted(pid: int, accepted_at: float) -> None:
        load.began(delivery)
        delivery.accept(pid, accepted_at)

    def ended(outcome: Outcome) -> None:
        load.ended(delivery)
        delivery.end(outcome)

    def lost(error: Any) -> None:
        # The child died or was killed. Nothing is settled: the broker delivers it again.
        text = str(getattr(error, "exception", error))
        killer = _KILLER.search(text)
        consumer.note_death(delivery.envelope, killer[0] if killer else "an unknown cause")
        ended(Outcome(is_settled=False, error=text))

    is_asked = delivery.envelope.type == HEALTH_CHECK
    health = communicator.presence.health() if is_asked else None
    consumer.pool.apply_async(
        receive,
        args=(communicator.name, delivery.envelope, arrival_of(delivery.message), health),
        accept_callback=accepted,
        callback=ended,
        error_callback=lost,
        correlation_id=delivery.id,
    )
