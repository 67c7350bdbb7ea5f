import pytest
from kombu import Connection

from gateway_app import traps
from gateway_app.doctor import broker
from gateway_app.doctor.finding import LayerBroken
from messaging.transport import queue_statistics
from tests.gateway_app.doctor.conftest import OnBroker, RedisServer
from tests.gateway_app.doctor.found import ids
from tests.support.brokers import BROKERS, require


@pytest.mark.parametrize("name", ["sqlite", "amqp"])
def test_a_sound_broker_has_no_finding(name: str, on_broker: OnBroker, tmp_path: object) -> None:
    require(BROKERS[name])
    on_broker(BROKERS[name].url.format(folder=tmp_path))
    assert ids(broker.look) == set()


def test_a_redis_server_that_keeps_what_it_has_is_sound(
    on_broker: OnBroker, redis_server: RedisServer
) -> None:
    on_broker(redis_server("--appendonly", "yes", "--maxmemory", "100mb"))
    assert ids(broker.look) == set()


def test_looking_leaves_nothing_behind(on_broker: OnBroker, tmp_path: object) -> None:
    bus = on_broker(f"sqlite:///{tmp_path}/looked-at.sqlite3")
    ids(broker.look)
    assert [queue.name for queue in queue_statistics(bus.config.broker_url)] == []


def test_looking_leaves_nothing_behind_on_redis(
    on_broker: OnBroker, redis_server: RedisServer
) -> None:
    url = redis_server()
    on_broker(url)
    ids(broker.look)
    with Connection(url) as connection:
        assert list(connection.default_channel.client.scan_iter("*bus.doctor*")) == []


def test_a_broker_that_is_away_is_found(on_broker: OnBroker) -> None:
    on_broker("amqp://127.0.0.1:1//")
    assert ids(broker.look) == {traps.NO_BROKER.id}


def test_its_url_is_told_as_it_was_given_without_the_password(on_broker: OnBroker) -> None:
    """Redis was told by the name of the transport: `redis-bus://…`, which nobody has typed."""
    on_broker("redis://:secret@127.0.0.1:1/0")
    with pytest.raises(LayerBroken, match=r"^redis://:\*\*@127\.0\.0\.1:1/0: "):
        list(broker.look())


@pytest.mark.parametrize("who", ["guest:wrong@{}//", "guest:guest@{}/no-such-host"])
def test_a_broker_that_refuses_the_login_is_found(who: str, on_broker: OnBroker) -> None:
    require(BROKERS["amqp"])
    address = BROKERS["amqp"].url.partition("@")[2].partition("/")[0]
    on_broker(f"amqp://{who.format(address)}")
    assert ids(broker.look) == {traps.REFUSED.id}


def test_a_redis_server_that_refuses_the_login_is_found(
    on_broker: OnBroker, redis_server: RedisServer
) -> None:
    url = redis_server("--requirepass", "long")
    on_broker(url.replace("//", "//:wrong@"))
    assert ids(broker.look) == {traps.REFUSED.id}


def test_a_broker_that_takes_no_message_is_found(
    on_broker: OnBroker, redis_server: RedisServer
) -> None:
    on_broker(redis_server("--maxmemory", "1"))
    assert ids(broker.look) == {traps.NO_ROUND_TRIP.id}


def test_a_broker_that_knows_no_priorities_is_found(on_broker: OnBroker) -> None:
    on_broker("memory://")
    assert ids(broker.look) == {traps.NO_PRIORITIES.id}


def test_a_redis_server_that_evicts_messages_is_found(
    on_broker: OnBroker, redis_server: RedisServer
) -> None:
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    on_broker(redis_server(*options, "--appendonly", "yes"))
    assert ids(broker.look) == {traps.REDIS_EVICTS.id}


def test_a_redis_server_that_keeps_messages_in_memory_alone_is_found(
    on_broker: OnBroker, redis_server: RedisServer
) -> None:
    on_broker(redis_server("--appendonly", "no", "--save", ""))
    assert ids(broker.look) == {traps.REDIS_FORGETS.id}
