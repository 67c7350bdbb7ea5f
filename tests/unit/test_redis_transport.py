"""The Redis transport where its connection was lost."""

import pytest
from kombu import Connection
from redis.exceptions import ConnectionError

from messaging.brokers import REDIS_TRANSPORT
from tests.support.brokers import BROKERS, require


def test_a_channel_whose_connection_was_closed_says_so_with_a_connection_error() -> None:
    """An AttributeError of kombu's ended workers: what was lost is what they connect anew for."""
    require(BROKERS["redis"])
    connection = Connection(BROKERS["redis"].url, transport=REDIS_TRANSPORT)
    channel = connection.channel()
    channel._kept_client = channel._kept_pool = None
    transport = channel.connection
    transport.client = None
    with pytest.raises(ConnectionError), channel.conn_or_acquire():
        pass
    assert issubclass(ConnectionError, connection.connection_errors)
