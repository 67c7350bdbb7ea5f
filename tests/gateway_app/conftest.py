from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

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


#: Makes a user with these permissions, and returns the browser in which it has logged in.
Login = Callable[..., Client]


@pytest.fixture
def login() -> Login:
    def log_in(*permissions: str) -> Client:
        user, _ = User.objects.get_or_create(username="anna", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return log_in
