"""The work queues: declared as this code does it, and with somebody who takes from them."""

from collections.abc import Iterator
from datetime import timedelta

from gateway_app import traps
from gateway_app.bus import communicator
from gateway_app.doctor.finding import Finding, fine, trapped
from gateway_app.models import Service, ServiceInstance
from gateway_app.ops import figures
from messaging import MessageBus
from messaging.depths import depths
from messaging.envelope import utc_now
from messaging.models import OPEN, OutboxMessage


def look() -> Iterator[Finding]:
    """Yield what is wrong with the queues of services, also of those that nobody knows."""
    bus = communicator.bus
    known = {*Service.objects.values_list("name", flat=True), communicator.name}
    if bus.profile.name == "amqp":
        yield from _arguments(bus, known)
    yield from _waiting(bus, known)


def _arguments(bus: MessageBus, services: set[str]) -> Iterator[Finding]:
    """Declare the queues that there are as workers do: RabbitMQ refuses what differs."""
    refused = []
    with bus.connection() as connection:
        for service in sorted(services):
            queue = bus.topology.service_queue(service)
            try:
                with connection.channel() as channel:
                    channel.queue_declare(queue.name, passive=True)
            except connection.channel_errors:
                continue  # there is none yet, and the doctor makes none
            try:
                with connection.channel() as channel:
                    queue(channel).declare()
            except connection.channel_errors as exc:
                refused.append(f"{queue.name}: {getattr(exc, 'reply_text', exc)}")
    for text in refused:
        yield trapped("Arguments", traps.QUEUE_ARGUMENTS, text)
    if not refused:
        yield fine("Arguments", "queues are as this code declares them")


def _waiting(bus: MessageBus, known: set[str]) -> Iterator[Finding]:
    limit = utc_now() - timedelta(seconds=communicator.bus.config.down_seconds)
    heard = ServiceInstance.objects.filter(left_at=None, last_seen_at__gte=limit)
    alive = set(heard.values_list("service__name", flat=True))
    targets = OutboxMessage.objects.filter(state__in=OPEN).exclude(target="")
    silent = (known | set(targets.values_list("target", flat=True).distinct())) - alive
    found = {name: depth.waiting for name, depth in depths(bus, sorted(silent)).items()}
    for name, waiting in found.items():
        if waiting:
            said = "" if name in known else ", which has never registered"
            text = f"{figures.plural(waiting, 'message')} for {name}{said}"
            yield trapped("Waiting", traps.NOBODY_TAKES, text)
    if not any(found.values()):
        yield fine("Waiting", "nothing waits for a service that does not run")
