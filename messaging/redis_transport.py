"""kombu's Redis transport, with one client for each channel instead of one for each command.

kombu 5.7 makes a redis-py client, a quarter of a millisecond of Python, for every message that is
published, taken or acknowledged. A client may be used by all threads: it lends each command a
connection of the pool.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis

_redis: Any = redis


class Channel(_redis.Channel):
    """A channel that keeps its client as long as its pool."""

    _kept_client: Any = None
    _kept_pool: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Lend a client for commands that do not block."""
        if client is None:
            if self._kept_client is None or self._kept_pool is not self.pool:
                self._kept_client, self._kept_pool = self._create_client(), self.pool
            client = self._kept_client
        yield client


class Transport(_redis.Transport):
    """kombu's, with that channel."""

    Channel = Channel
