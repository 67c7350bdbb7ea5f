"""The broker: it lets us in, and a message of each priority comes through it, in their order."""

import uuid
from collections.abc import Iterator
from typing import Any, Final

from kombu import Connection, Queue
from kombu.exceptions import OperationalError

from gateway_app import traps
from gateway_app.bus import communicator
from gateway_app.doctor import redis
from gateway_app.doctor.finding import Finding, LayerBroken, fine
from gateway_app.ops import figures
from messaging import MessageBus, MessagePriority, MessagingError
from messaging.brokers import shown
from messaging.clock import SYSTEM_CLOCK
from messaging.codec import decode
from messaging.compose import Composer
from messaging.envelope import MessageKind
from messaging.publisher import Addressed
from messaging.refusal import refusal

#: Type of the messages that the doctor sends to itself.
PROBE: Final = "bus.doctor.probe"
#: Pause before an empty queue is looked at again.
LOOK_SECONDS: Final = 0.02
_URGENT_FIRST: Final = (
    MessagePriority.CRITICAL,
    MessagePriority.HIGH,
    MessagePriority.NORMAL,
    MessagePriority.LOW,
)


def look() -> Iterator[Finding]:
    """Yield whether messages come through it."""
    bus = communicator.bus
    name = bus.profile.name
    with bus.connection() as connection:
        errors = (
            *connection.connection_errors,
            *connection.channel_errors,
            OperationalError,
            MessagingError,
            OSError,
        )
        try:
            took = _connect(bus, connection)
        except errors as exc:
            text = f"{shown(bus.config.broker_url)}: {exc}"
            trap = traps.REFUSED if refusal(exc) else traps.NO_BROKER
            raise LayerBroken("Broker", trap, text) from exc
        yield fine("Broker", f"{name} answers, {took}")
        try:
            yield _round_trip(bus, connection)
        except errors as exc:
            raise LayerBroken(
                "Messages", traps.NO_ROUND_TRIP, f"{type(exc).__name__}: {exc}"
            ) from exc
        if name == "redis":
            yield from redis.look(connection.default_channel.client)


def _connect(bus: MessageBus, connection: Connection) -> str:
    began = SYSTEM_CLOCK.monotonic()
    connection.ensure_connection(
        max_retries=1, interval_start=0.1, timeout=bus.config.broker_timeout_seconds
    )
    connection.default_channel  # noqa: B018 - some brokers answer only now
    return figures.duration_text(SYSTEM_CLOCK.monotonic() - began)


def _round_trip(bus: MessageBus, connection: Connection) -> Finding:
    """Send a message of each priority, least urgent first; take and acknowledge them."""
    channel = connection.channel()
    # Gone with this connection, however it ends.
    probe = bus.topology.probe_queue(uuid.uuid4().hex)
    queue = probe(channel)
    queue.declare()
    try:
        sent = [_send(bus, probe, priority) for priority in reversed(_URGENT_FIRST)]
        came = list(_take(queue, len(sent), bus.config.broker_timeout_seconds))
    finally:
        queue.delete()
    if len(came) < len(sent):
        text = f"{len(came)} of {len(sent)} messages came back"
        raise LayerBroken("Messages", traps.NO_ROUND_TRIP, text)
    if came != list(_URGENT_FIRST):
        raise LayerBroken("Messages", traps.NO_PRIORITIES, f"they came as {', '.join(came)}")
    return fine("Messages", "one of each priority came through, the most urgent first")


def _send(bus: MessageBus, queue: Queue, priority: MessagePriority) -> str:
    envelope = Composer(communicator.name).compose(
        MessageKind.COMMAND, PROBE, {}, target=communicator.name, priority=priority
    )
    with bus.publisher() as publisher:
        message = bus.wire(envelope, expires=False)
        publisher.publish(Addressed(message, "", queue.name, mandatory=True))
    return envelope.id


def _take(queue: Any, count: int, timeout_seconds: float) -> Iterator[MessagePriority]:
    give_up_at = SYSTEM_CLOCK.monotonic() + timeout_seconds
    while count and SYSTEM_CLOCK.monotonic() < give_up_at:
        message = queue.get(no_ack=False)
        if message is None:
            SYSTEM_CLOCK.sleep(LOOK_SECONDS)
            continue
        message.ack()
        count -= 1
        yield decode(message.body).priority
