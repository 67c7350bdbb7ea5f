"""One word to RabbitMQ for many messages, and never for one that is not done."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection
from kombu.message import Message

from messaging.worker.acks import Acks
from tests.support.brokers import BROKERS, require


class Channel:
    """A queue of ten messages on a real broker, all delivered."""

    def __init__(self, connection: Connection) -> None:
        self.queue = f"acks-{uuid4().hex}"
        self.channel: Any = connection.channel()
        self.channel.queue_declare(self.queue, durable=False, auto_delete=False)
        producer = connection.Producer(self.channel)
        for number in range(10):
            producer.publish(number, routing_key=self.queue)
        self.messages: list[Message] = []
        self.acks = Acks(connection.connection_errors, has_multiple=True)
        self.said: list[tuple[int, bool]] = []
        say = self.channel.basic_ack

        def basic_ack(tag: int, multiple: bool = False) -> None:
            self.said.append((tag, multiple))
            say(tag, multiple=multiple)

        self.channel.basic_ack = basic_ack
        while len(self.messages) < 10:
            delivered = self.channel.basic_get(self.queue)
            if delivered is not None:
                message = self.channel.message_to_python(delivered)
                self.acks.hold(message)
                self.messages.append(message)

    def left(self, connection: Connection) -> list[int]:
        """Return what the broker has once this channel is gone, and delete the queue."""
        self.channel.close()
        with connection.channel() as other:
            found: list[int] = []
            while message := other.basic_get(self.queue, no_ack=True):
                found.append(int(message.body))
            other.queue_delete(self.queue)
        return sorted(found)


@pytest.fixture
def connection() -> Iterator[Connection]:
    require(BROKERS["amqp"])
    with Connection(BROKERS["amqp"].url) as made:
        yield made


def done(channel: Channel, *numbers: int) -> None:
    for number in numbers:
        channel.acks.done(channel.messages[number])
    channel.acks.flush()


def test_all_up_to_one_are_acknowledged_together(connection: Connection) -> None:
    channel = Channel(connection)
    done(channel, 2, 0, 1, 3)
    assert channel.said == [(4, True)]
    assert channel.left(connection) == [4, 5, 6, 7, 8, 9]


def test_one_that_is_not_done_is_not_acknowledged_with_the_others(connection: Connection) -> None:
    channel = Channel(connection)
    done(channel, 0, 1, 3, 4)
    assert sorted(channel.said) == [(2, True), (4, False), (5, False)]
    done(channel, 2, 5)
    assert channel.said[-1] == (6, True)
    assert channel.left(connection) == [6, 7, 8, 9]


def test_one_that_was_given_back_is_not_waited_for(connection: Connection) -> None:
    channel = Channel(connection)
    channel.acks.requeue(channel.messages[0])
    done(channel, 1, 2)
    assert channel.said == [(3, True)]
    assert channel.left(connection) == [0, 3, 4, 5, 6, 7, 8, 9]


def test_a_message_of_a_channel_that_is_gone_is_its_own_affair(connection: Connection) -> None:
    channel, later = Channel(connection), Acks(connection.connection_errors, has_multiple=True)
    later.done(channel.messages[0])
    assert channel.said == [(1, False)]
    assert channel.left(connection) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_other_brokers_get_each_ack_at_once(connection: Connection) -> None:
    channel = Channel(connection)
    each = Acks(connection.connection_errors, has_multiple=False)
    for message in channel.messages[:2]:
        each.hold(message)
        each.done(message)
    assert channel.said == [(1, False), (2, False)]
    assert channel.left(connection) == [2, 3, 4, 5, 6, 7, 8, 9]
