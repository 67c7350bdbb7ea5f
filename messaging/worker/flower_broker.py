"""Flower's broker page on the embedded broker.

Flower chooses its broker client from a fixed list of schemes and has no hook for another; its
views look the factory up by name, so that name is given a factory that knows one scheme more.
Checked against Flower 2.2.
"""

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import flower.views
from flower.utils.broker import Broker as FlowerBroker

from messaging.transport.statistics import queue_statistics


class EmbeddedBroker:
    """What Flower asks of a broker client."""

    def __init__(self, broker_url: str) -> None:
        self._broker_url = broker_url

    async def queues(self, _names: Iterable[str]) -> list[dict[str, Any]]:
        """Return name and length of every durable queue.

        Flower asks for those of workers that answered its inspection in time. Messages for a
        service that never ran wait in a queue that no worker tells of.
        """
        statistics = await asyncio.to_thread(queue_statistics, self._broker_url)
        return [
            {"name": queue.name, "messages": queue.ready + queue.leased + queue.delayed}
            for queue in statistics
            if queue.durable
        ]


def broker_client(broker_url: str, *args: Any, **kwargs: Any) -> Any:
    """Return Flower's client for a broker, or ours for the embedded one."""
    if urlsplit(broker_url).scheme == "sqlite":
        return EmbeddedBroker(broker_url)
    return FlowerBroker(broker_url, *args, **kwargs)


def install() -> None:
    """Make Flower's views use `broker_client`. Idempotent."""
    flower.views.Broker = broker_client
