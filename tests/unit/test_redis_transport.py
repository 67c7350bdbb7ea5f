"""The Redis transport: where its connection was lost, and Sentinel's."""

import pytest
from kombu import Connection
from redis.exceptions import ConnectionError

from messaging.brokers import REDIS_TRANSPORT, SENTINEL_TRANSPORT, profile_for
from messaging.redis_deliveries import DeliveringChannel
from tests.support.brokers import BROKERS, require


def test_a_channel_whose_connection_was_closed_says_so_with_a_connection_error() -> None:
    """An AttributeError of kombu's ended workers: what was lost is what they connect anew for."""
    require(BROKERS["redis"])
    connection = Connection(BROKERS["redis"].url, transport=REDIS_TRANSPORT)
    channel = connection.channel()
    channel._kept_client = channel._kept_pool = None
    transport = channel.connection
    client, transport.client = transport.client, None
    with pytest.raises(ConnectionError), channel.conn_or_acquire():
        pass
    transport.client = client
    connection.close()
    assert issubclass(ConnectionError, connection.connection_errors)


def test_sentinels_transport_has_the_same_deliveries() -> None:
    profile = profile_for("sentinel://127.0.0.1:26379/0")
    assert profile.transport == SENTINEL_TRANSPORT
    for url, transport in (
        ("sentinel://127.0.0.1:26379/0", SENTINEL_TRANSPORT),
        (BROKERS["redis"].url, REDIS_TRANSPORT),
    ):
        channel_class = Connection(url, transport=transport).get_transport_cls().Channel
        assert issubclass(channel_class, DeliveringChannel)
        assert channel_class._brpop_read is DeliveringChannel._brpop_read
        assert channel_class._put is DeliveringChannel._put
