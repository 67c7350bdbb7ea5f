"""Deliveries on Redis: taken and noted in one step, each told apart, given back where it was.

kombu takes a message off a list with ``BRPOP`` and writes it into its notes of what is not
acknowledged with a command that comes later: a worker killed in between loses it, and one that has
much to do is between the two for a good part of its time. Here a script does both at once.

Scripts cannot wait, so whoever finds nothing waits for a **bell**: a list beside each queue, in
which a publisher leaves an empty text for each message. It says that it is worth to look, no more:
whoever waits looks once a second as well, for messages whose bell was heard by a process that
died, or that another client put in without ringing.

kombu also notes what is not acknowledged under a tag that the *message* got when it was published,
for all consumers of the database together. All copies of a broadcast have the same: the first
service that acknowledges its copy takes the note of all others away, so that a worker that dies
then, or gives its copy back, loses it. And what is given back goes where it was published to: to
every service once more. Here each delivery has a tag of its own, and goes back to the queue that
it came from. The notes themselves are as kombu writes them.
"""

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from queue import Empty
from typing import Any, Final

from kombu.transport import redis, virtual
from kombu.utils.json import dumps, loads

from messaging.clock import SYSTEM_CLOCK

_redis: Any = redis

#: Processes that a bell wakes at the same time, and for how long it is worth to hear it.
_LOUDNESS: Final = 16
_HEARD_MILLISECONDS: Final = 60_000

#: Rings a bell, KEYS[1].
_RING: Final = f"""\
if redis.call('LLEN', KEYS[1]) < {_LOUDNESS} then
    redis.call('LPUSH', KEYS[1], '')
    redis.call('PEXPIRE', KEYS[1], {_HEARD_MILLISECONDS})
end"""

#: Puts ARGV[1] into a queue's list, KEYS[2], and rings. From KEYS[3] on: lists that expire
#: ARGV[2] milliseconds from now.
_PUT: Final = f"""\
redis.call('LPUSH', KEYS[2], ARGV[1])
{_RING}
for n = 3, #KEYS do
    redis.call('PEXPIRE', KEYS[n], ARGV[2])
end"""

#: Takes the oldest message of the first list, from KEYS[3] on, that has one, and notes it in
#: KEYS[1] and KEYS[2] under the tag ARGV[1], at the time ARGV[2]. ARGV[n] has what the note says
#: of the queue of KEYS[n]; nothing, where nobody is going to acknowledge.
_TAKE: Final = """\
for n = 3, #KEYS do
    local message = redis.call('RPOP', KEYS[n])
    if message then
        if ARGV[n] ~= '' then
            redis.call('HSET', KEYS[1], ARGV[1], '[' .. message .. ', "", ' .. ARGV[n] .. ']')
            redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
        end
        return {n, message}
    end
end"""


class QoS(_redis.QoS):
    """kombu's notes of what is not acknowledged, of which the script has written most."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a delivery; write the note, where that was not done when it was taken."""
        if self.channel.noted_tag == delivery_tag:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put a delivery back into its queue, and take its note away."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except ValueError:
            # No JSON, and its worker died before it could say so. The next one parks it.
            self._restore_unreadable(tag)

    def _restore_unreadable(self, tag: str) -> None:
        def restore(pipe: Any) -> None:
            note = pipe.hget(self.unacked_key, tag)
            pipe.multi()
            self._remove_from_indices(tag, pipe)
            if note:
                raw, queue = note[1:-1].rsplit(b', "", ', 1)
                self.channel._do_restore_message(_unreadable(raw), "", json.loads(queue), pipe)

        with self.channel.conn_or_acquire() as client:
            client.transaction(restore, self.unacked_key)


class DeliveringChannel:
    """What a channel of kombu's does in another way; mixed in before its class."""

    QoS = QoS
    #: Pipelines of kombu's would leave out the bell.
    supports_batch_publish = False

    #: Of the delivery that the script has noted, while a consumer is given it.
    noted_tag = ""
    #: Whether the next thing to do is to look for a message; else, to wait for the bell.
    _looks = True
    _tag = ""
    #: The queues that were asked for a message, as the script numbers them.
    _asked: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: Queues whose consumers never acknowledge.
        self._unacknowledged: set[str] = set()
        super().__init__(*args, **kwargs)

    def basic_consume(self: Any, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Begin to consume a queue."""
        (self._unacknowledged.add if no_ack else self._unacknowledged.discard)(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)  # type: ignore[misc]

    def queue_bind(
        self: Any, queue: str, exchange: str = "", routing_key: str = "", *args: Any, **kwargs: Any
    ) -> None:
        """Bind a queue, also where this connection has done so before: it may be lost since.

        kombu leaves out what it remembers. A service whose queue had been bound again once, over a
        connection that lasted, got no broadcast after the next wipe.
        """
        self.state.binding_delete(queue, exchange, routing_key)
        super().queue_bind(queue, exchange, routing_key, *args, **kwargs)  # type: ignore[misc]

    def _put(self: Any, queue: str, message: Mapping[str, Any], **kwargs: Any) -> None:
        priority = self._get_message_priority(message, reverse=False)
        keys = [self._bell(queue), self._list(queue, priority)]
        expires = self._expires.get(queue)
        if expires is not None:
            keys += [self._list(queue, each) for each in self.priority_steps]
        with self.conn_or_acquire() as client:
            client.execute_command("EVAL", _PUT, len(keys), *keys, dumps(message), expires or 0)

    def _do_restore_message(
        self: Any, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        message = payload if _is_readable(payload) else _unreadable(dumps(payload).encode())
        super()._do_restore_message(  # type: ignore[misc]
            message, exchange, routing_key, pipe, leftmost
        )
        for queue in self._lookup(exchange, routing_key):
            pipe.execute_command("EVAL", _RING, 1, self._bell(queue))

    def queue_delete(self: Any, queue: str, *args: Any, **kwargs: Any) -> None:
        """Delete a queue, and its bell."""
        super().queue_delete(queue, *args, **kwargs)  # type: ignore[misc]
        with self.conn_or_acquire(client=kwargs.get("client")) as client:
            client.execute_command("UNLINK", self._bell(queue))

    # kombu's clients know neither EVAL nor UNLINK, and leave out the prefix.

    def _bell(self: Any, queue: str) -> str:
        return f"{self.global_keyprefix}{queue}{self.sep}bell"

    def _list(self: Any, queue: str, priority: int) -> str:
        return f"{self.global_keyprefix}{self._q_for_pri(queue, priority)}"

    def _brpop_start(self: Any, timeout: float | None = None) -> None:
        """Send a command whose answer `_brpop_read` waits for: look, or wait for the bell."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        connection = self.client.connection
        self._in_poll, self._brpop_sent_at = connection, SYSTEM_CLOCK.monotonic()
        if self._looks:
            self._tag = str(uuid.uuid4())
            connection.send_command("EVAL", _TAKE, *self._taking(queues))
        else:
            seconds = self.brpop_timeout if timeout is None else timeout
            connection.send_command("BRPOP", *map(self._bell, queues), seconds)

    def _taking(self: Any, queues: list[str]) -> list[Any]:
        """Return what the script that takes a message is given."""
        prefix = self.global_keyprefix
        asked = [(queue, number) for number in self.priority_steps for queue in queues]
        self._asked = tuple(queue for queue, _ in asked)
        keys = [f"{prefix}{self.unacked_key}", f"{prefix}{self.unacked_index_key}"]
        keys += [self._list(*each) for each in asked]
        in_note = {
            queue: "" if queue in self._unacknowledged else json.dumps(queue) for queue in queues
        }
        values = [self._tag, SYSTEM_CLOCK.now(), *map(in_note.__getitem__, self._asked)]
        return [len(keys), *keys, *values]

    def _brpop_read(self: Any, **options: Any) -> bool:
        """Read the answer, and give a message that it has to its consumer.

        Raises:
            Empty: it has none.
        """
        was_looking = self._looks
        try:
            answer = self.client.parse_response(self.client.connection, "EVAL", **options)
        except self.connection_errors:
            self.client.connection.disconnect()
            if was_looking:
                # Whatever the answer would have had. Where that fails as well it stays in the
                # notes, and goes back when the visibility timeout has passed.
                with suppress(*self.connection_errors):
                    self.qos.restore_by_tag(self._tag)
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        self._looks = answer is not None or not was_looking
        if answer is None or not was_looking:
            raise Empty()
        number, raw = answer
        queue = self._asked[number - 3]
        self._queue_cycle.rotate(queue)
        message = _read(raw)
        if message is None:
            message = _unreadable(raw)
        else:
            self.noted_tag = self._tag
        message["properties"]["delivery_tag"] = self._tag
        message["properties"]["delivery_info"] |= {"exchange": "", "routing_key": queue}
        try:
            self.connection._deliver(message, queue)
        finally:
            self.noted_tag = ""
        return True


def _read(raw: bytes) -> dict[str, Any] | None:
    """Return a message as kombu writes it; None if this is none."""
    try:
        message = loads(raw)
    except ValueError:
        return None
    return message if _is_readable(message) else None


def _is_readable(message: Any) -> bool:
    properties = message.get("properties") if isinstance(message, dict) else None
    return (
        isinstance(properties, dict)
        and isinstance(properties.get("delivery_info"), dict)
        and isinstance(message.get("headers"), dict)
    )


def _unreadable(raw: bytes) -> dict[str, Any]:
    """Return a message with that text as its body, for the worker to park."""
    return {
        "body": raw.decode(errors="replace"),
        "content-type": "text/plain",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {"delivery_info": {}, "delivery_tag": "", "body_encoding": None},
    }
