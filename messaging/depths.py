"""How many messages wait for services, by priority, and for how long: as far as brokers tell.

The embedded broker and Redis tell all of it, RabbitMQ only how many there are. Messages that a
worker has in hand do not wait; on Redis and the embedded broker neither do those that it has
fetched ahead.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from messaging.clock import SYSTEM_CLOCK
from messaging.codec import decode
from messaging.envelope import MessagePriority
from messaging.errors import DecodeError

if TYPE_CHECKING:
    from messaging.bus import MessageBus
    from messaging.publisher import Publisher


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits for one service at one moment."""

    waiting: int
    #: Of each priority that has any; None: the broker does not tell.
    by_priority: Mapping[MessagePriority, int] | None = None
    #: Since the oldest of them was sent; None: nothing waits, or the broker does not tell.
    oldest_seconds: float | None = None
    #: The same of each priority, as far as it is known; None: the broker does not tell.
    oldest_by_priority: Mapping[MessagePriority, float] | None = None


NOTHING: Final = Depth(0, {}, None, {})


def depths(bus: "MessageBus", services: Iterable[str]) -> dict[str, Depth]:
    """Return what waits for each of these services; `NOTHING` for one without a queue.

    Safe to repeat. On the embedded broker one query for all, else a round trip for each.

    Raises:
        BrokerUnavailable, BrokerBusy: it does not answer.
    """
    if bus.profile.name == "sqlite":
        return _in_file(bus, services)
    with bus.publisher() as publisher:
        if bus.profile.name == "redis":
            return {service: _in_redis(bus, publisher, service) for service in services}
        names = {service: bus.topology.queue_name(service) for service in services}
        lengths = {service: publisher.queue_length(name) for service, name in names.items()}
    return {service: Depth(length) if length else NOTHING for service, length in lengths.items()}


def _in_file(bus: "MessageBus", services: Iterable[str]) -> dict[str, Depth]:
    from messaging.transport import queue_statistics  # and SQLAlchemy with it

    queues = {queue.name: queue for queue in queue_statistics(bus.config.broker_url)}
    found = {}
    for service in services:
        queue = queues.get(bus.topology.queue_name(service))
        if queue is None or not queue.ready:
            found[service] = NOTHING
            continue
        counts: dict[MessagePriority, int] = {}
        ages: dict[MessagePriority, float] = {}
        for number, count in queue.ready_by_priority.items():
            priority = _named(bus, number)
            counts[priority] = counts.get(priority, 0) + count
            age = queue.oldest_age_by_priority[number]
            ages[priority] = max(ages.get(priority, 0.0), age)
        found[service] = Depth(queue.ready, counts, queue.oldest_age_seconds, ages)
    return found


def _named(bus: "MessageBus", number: int) -> MessagePriority:
    """Return the priority of a number: ageing leaves some between two of them."""
    numbers = bus.profile.priorities
    fitting = [each for each in MessagePriority if numbers[each] <= number]
    return max(fitting, key=numbers.__getitem__, default=MessagePriority.LOW)


def _in_redis(bus: "MessageBus", publisher: "Publisher", service: str) -> Depth:
    levels = publisher.levels(bus.topology.queue_name(service))
    names = {number: priority for priority, number in bus.profile.priorities.items()}
    counts = {names[number]: count for number, (count, _) in levels.items() if count}
    if not counts:
        return NOTHING
    now = SYSTEM_CLOCK.now()
    ages = {
        names[number]: max(0.0, now - at)
        for number, (_, body) in levels.items()
        if body and (at := _sent_at(body)) is not None
    }
    return Depth(sum(counts.values()), counts, max(ages.values(), default=None), ages)


def _sent_at(body: str | bytes) -> float | None:
    """Return when a message was sent, seconds since 1970; None: it is none of ours."""
    try:
        return decode(body).created_at.timestamp()
    except DecodeError:
        return None
