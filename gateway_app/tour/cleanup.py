"""Takes off a shared broker what one play left there."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import redis

from gateway_app.tour.stage import Stage
from messaging import MessageBus


def wipe_broker(stage: Stage[Any]) -> None:
    """Have the broker lose everything the play has on it, under everybody's feet."""
    sandbox, bus = stage.sandbox, stage.communicator.bus
    if sandbox.is_broker_embedded:
        file = bus.config.broker_url.removeprefix("sqlite:///")
        for suffix in ("", "-wal", "-shm", "-live"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
    else:
        remove_namespace(bus, stage.stack.services, stage.records.epochs())


def remove_namespace(bus: MessageBus, services: Iterable[str], epochs: Iterable[str]) -> None:
    """Delete the queues, exchanges and keys of a namespace. Idempotent.

    Args:
        bus: of the namespace.
        services: whose queues there are.
        epochs: whose markers there are.
    """
    if bus.profile.name == "redis":
        _remove_keys(bus)
    else:
        _remove_queues(bus, services, epochs)


def _remove_queues(bus: MessageBus, services: Iterable[str], epochs: Iterable[str]) -> None:
    topology = bus.topology
    control = topology.control_exchange_name
    with bus.connection() as connection:
        channel = connection.default_channel
        for service in services:
            channel.queue_delete(topology.queue_name(service))
            channel.queue_delete(topology.custody_queue(service).name)
        for epoch in epochs:
            channel.queue_delete(topology.epoch_queue(epoch).name)
        for exchange in (
            topology.events_exchange.name,
            topology.services_exchange.name,
            topology.celery_events_exchange_name,
            # kombu's remote control makes these two of the name it is given.
            f"{control}.pidbox",
            f"reply.{control}.pidbox",
        ):
            channel.exchange_delete(exchange)


def _remove_keys(bus: MessageBus) -> None:
    # Not through kombu: its client hides the prefix, and cannot list keys by it.
    with redis.Redis.from_url(bus.config.broker_url) as client:
        for key in client.scan_iter(match=f"{bus.config.namespace}:*"):
            client.delete(key)
