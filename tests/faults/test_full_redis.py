"""Redis at ``maxmemory`` takes nothing: as while it is away, what may wait is in the outbox."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway_app.preconditions import free_port, is_port_taken
from messaging import MessagingConfig, ServiceCommunicator, codec
from messaging.custody.relay import Relay
from messaging.envelope import utc_now
from messaging.errors import BrokerUnavailable
from messaging.models import OutboxMessage
from tests.support.brokers import BROKERS, require
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    """A client of a Redis server of this test's own."""
    require(BROKERS["redis"])
    port = free_port()
    options = ("--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction")
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), *options], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        eventually(lambda: is_port_taken(port), what="a Redis server")
        yield redis.Redis(port=port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def sender(server: Any) -> Iterator[ServiceCommunicator]:
    port = server.connection_pool.connection_kwargs["port"]
    config = MessagingConfig(broker_url=f"redis://127.0.0.1:{port}/0")
    sender = ServiceCommunicator("tester", config=config)
    yield sender
    sender.close()


def set_memory(server: Any, limit: int) -> None:
    server.config_set("maxmemory", limit)


def waiting(sender: ServiceCommunicator, service: str) -> set[str]:
    """Take what waits for a service; return the ids."""
    ids: set[str] = set()
    with sender.bus.connection() as connection:
        queue = sender.bus.topology.service_queue(service)(connection.channel())
        while (message := queue.get(no_ack=True)) is not None:
            ids.add(codec.decode(message.body).id)
    return ids


@pytest.mark.parametrize("is_known", [True, False])
def test_what_it_has_no_room_for_waits_in_the_outbox(
    server: Any, sender: ServiceCommunicator, is_known: bool
) -> None:
    if is_known:
        sender.send_to_service("worker", "work", {}, priority="LOW")
        assert len(waiting(sender, "worker")) == 1
    set_memory(server, 1)
    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        sender.send_to_service("worker", "work", {}, priority="LOW")
    sent = {
        sender.send_to_service("worker", "work", {}, priority=priority)
        for priority in ("NORMAL", "HIGH")
    }
    rows = OutboxMessage.objects.all()
    assert {row.message_id for row in rows} == sent
    relay = Relay(sender.bus, "tester")
    rows.update(due_at=utc_now())
    relay._turn()
    assert [row.failures for row in rows.all()] == [0, 0]  # none of them is at fault
    set_memory(server, 0)
    rows.update(due_at=utc_now())
    relay._turn()
    assert waiting(sender, "worker") == sent
    assert not rows.all().exists()


def test_a_broadcast_that_it_has_no_room_for_waits_in_the_outbox(
    server: Any, sender: ServiceCommunicator
) -> None:
    queue = sender.bus.topology.worker_queue("worker", ["happened.#"])
    with sender.bus.publisher() as publisher:
        publisher.declare(queue)
    set_memory(server, 1)
    message_id = sender.broadcast("happened.now", {}, priority="HIGH")
    set_memory(server, 0)
    OutboxMessage.objects.update(due_at=utc_now())
    Relay(sender.bus, "tester")._turn()
    assert waiting(sender, "worker") == {message_id}
