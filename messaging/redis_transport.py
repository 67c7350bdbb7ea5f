"""kombu's Redis transport, with clients that are kept and deliveries that are told apart.

**Clients.** kombu 5.7 makes a redis-py client, a quarter of a millisecond of Python, for every
message that is published, taken or acknowledged. A client may be used by all threads: it lends
each command a connection of the pool.

**Deliveries.** kombu notes what is not acknowledged under a tag that the *message* got when it was
published, for all consumers of the database together. All copies of a broadcast have the same: the
first service that acknowledges its copy takes the note of all others away, so that a worker that
dies then, or gives its copy back, loses it. And what is given back goes where it was published to:
to every service once more. Here each delivery has a tag of its own, and goes back to the queue
that it came from.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis
from kombu.utils.json import loads
from redis.exceptions import ConnectionError

_redis: Any = redis


class Channel(_redis.Channel):
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


class _Deliveries:
    """What a transport makes of each message that it hands to a consumer."""

    def _deliver(self, message: Any, queue: str) -> None:
        properties = message.get("properties") if isinstance(message, dict) else None
        # What is not written as kombu does it the worker parks, as far as that can be read.
        if isinstance(properties, dict) and isinstance(properties.get("delivery_info"), dict):
            properties["delivery_info"] |= {"exchange": "", "routing_key": queue}
            properties["delivery_tag"] = str(uuid.uuid4())
        super()._deliver(message, queue)  # type: ignore[misc]


class Transport(_Deliveries, _redis.Transport):
    """kombu's, with that channel and those deliveries."""

    Channel = Channel


class SentinelTransport(_Deliveries, _redis.SentinelTransport):
    """kombu's for Redis Sentinel, which makes its clients by itself, with those deliveries."""
