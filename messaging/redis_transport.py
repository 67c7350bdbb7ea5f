"""The Redis transport of the bus: kombu's, with clients that are kept and deliveries of our own.

kombu 5.7 makes a redis-py client, a quarter of a millisecond of Python, for every message that is
published, taken or acknowledged. A client may be used by all threads: it lends each command a
connection of the pool.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis
from kombu.utils.json import loads
from redis.exceptions import ConnectionError

from messaging.redis_deliveries import DeliveringChannel

_redis: Any = redis


class Channel(DeliveringChannel, _redis.Channel):
    """A channel that keeps its client as long as its pool."""

    _kept_client: Any = None
    _kept_pool: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Lend a client for commands that do not block.

        Raises:
            redis.ConnectionError: the connection was closed, by the loss of it. kombu says it with
                an AttributeError, of which a worker dies.
        """
        if client is None:
            if self.connection.client is None:
                raise ConnectionError("the connection of this channel is closed")
            if self._kept_client is None or self._kept_pool is not self.pool:
                self._kept_client, self._kept_pool = self._create_client(), self.pool
            client = self._kept_client
        yield client

    def levels(self, queue: str) -> dict[int, tuple[int, Any]]:
        """Return of each priority number how many messages wait, and the body of the oldest.

        The body is None where none waits, or where it is not as kombu writes it.
        """
        keys = [self._q_for_pri(queue, number) for number in self.priority_steps]
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            for key in keys:
                pipe.llen(key)
                # kombu puts messages in on the left. It does not know this command, and leaves
                # out the prefix.
                pipe.lindex(f"{self.global_keyprefix}{key}", -1)
            answers = pipe.execute()
        return {
            number: (int(count), self._body(raw))
            for number, count, raw in zip(
                self.priority_steps, answers[::2], answers[1::2], strict=True
            )
        }

    def _body(self, raw: bytes | None) -> Any:
        try:
            payload = loads(raw)
            return self.decode_body(payload["body"], payload["properties"].get("body_encoding"))
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


class SentinelChannel(DeliveringChannel, _redis.SentinelChannel):
    """A channel of a server that Redis Sentinel names. kombu makes its clients."""


class Transport(_redis.Transport):
    """kombu's, with those channels."""

    Channel = Channel


class SentinelTransport(_redis.SentinelTransport):
    """kombu's for Redis Sentinel, with those channels."""

    Channel = SentinelChannel
