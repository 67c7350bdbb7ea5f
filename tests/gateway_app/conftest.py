from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_app import bus
from messaging import MessageBus, MessagingConfig


@pytest.fixture(autouse=True)
def own_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MessageBus]:
    """The gateway's communicator on a broker file of this test."""
    config = MessagingConfig(broker_url=f"sqlite:///{tmp_path}/broker.sqlite3")
    private = MessageBus(config)
    private.handlers = bus.communicator.bus.handlers
    monkeypatch.setitem(bus.communicator.__dict__, "bus", private)
    yield private
    bus.communicator.close()
