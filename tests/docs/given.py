"""What pages take for granted: models of a shop, services that run, files of the reader."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from django.test import override_settings
from pydantic import BaseModel

import services
from messaging import ServiceCommunicator
from messaging.contracts.contract import Contract
from messaging.testing import Harness
from services.document.handlers import communicator as documents
from services.scraper.handlers import communicator as scraper
from services.user.handlers import communicator as users
from services.user.models import User
from tests.docs.player import Given, Player
from tests.support.processes import ROOT


class Rows:
    """A model of a shop that sells."""

    def __init__(self) -> None:
        self.objects = self
        self.made: list[Any] = []

    def create(self, **fields: Any) -> SimpleNamespace:
        self.made.append(fields)
        return SimpleNamespace(pk=7)


@contextmanager
def given_for(page: str, folder: Path) -> Iterator[Given]:
    """Within the block there is what a page takes for granted.

    Args:
        page: which.
        folder: an empty one.
    """
    User.objects.update_or_create(pk=123, defaults={"name": "Ada", "country": "GB"})
    running = (documents, scraper, users)
    match page:
        case "README.md":
            yield Given(services=running, names={"Invoice": Rows(), "Order": Rows()})
        case "docs/gateway.md":
            ledger = SimpleNamespace(ping=lambda: True)
            billing = ServiceCommunicator("billing-service")
            yield Given(services=(*running, billing), names={"ledger": ledger})
        case "docs/scaling.md":
            shop = ServiceCommunicator("shop")
            yield Given(names={"communicator": shop, "customer_id": "c7"})
        case "docs/order_and_time.md":
            yield Given(names={"communicator": _that_takes("report.create", "account.book")})
        case "docs/testing.md":
            yield Given(around={2: _a_test_at_its_end})
        case "docs/contracts.md":
            with _orders_beside_what_runs(folder) as instead:
                yield Given(instead=instead)
        case "docs/first_service.md":
            with _clone(folder):
                yield Given(folder=folder)
        case _:
            yield Given(services=running)


def _that_takes(*types: str) -> ServiceCommunicator:
    billing = ServiceCommunicator("billing-service")
    for message_type in types:
        billing.on_message(message_type)(lambda _data: None)
    return billing


@contextmanager
def _a_test_at_its_end(player: Player) -> Iterator[None]:
    """Have ``bus`` be that of a test in which one invoice was made and another one was not."""
    with Harness() as bus:
        bus.service(player.names["billing"])
        bus.send("billing", "invoice.create", {"id": 7, "attempts": 1})
        bus.send("billing", "invoice.create", {"id": 8, "attempts": 100})
        bus.advance("7d")
        player.names["bus"] = bus
        yield


@contextmanager
def _orders_beside_what_runs(folder: Path) -> Iterator[dict[str, str]]:
    """Have a checkout of orders 2.0, and a file that tells of the seven contracts that run."""
    module = ModuleType("services.orders")
    module.communicator = _orders("2.0", Changed)  # type: ignore[attr-defined]
    billing = ServiceCommunicator("billing", version="1.0")
    billing.on_message("order.*", schema=Needed)(lambda _data: None)
    others = [ServiceCommunicator(f"other{number}", version="1.0") for number in range(5)]
    running = [_orders("1.0", Placed), billing, *others]
    file = folder / "running.json"
    file.write_text(json.dumps([Contract.of(each).to_json() for each in running]))
    sys.modules["services.orders"] = module
    try:
        yield {
            "--gateway": "--against",
            "https://gateway.example.com": str(file),
            "--token-file": "",
            "token": "",
            "contract.json": str(folder / "contract.json"),
        }
    finally:
        del sys.modules["services.orders"]


class Placed(BaseModel):
    """What orders 1.0 says."""

    id: int
    total: int


class Changed(BaseModel):
    """What orders 2.0 would say."""

    id: int
    coupon: str | None = None


class Needed(BaseModel):
    """What billing 1.0 has to know."""

    id: int
    total: int


def _orders(version: str, placed: type[BaseModel]) -> ServiceCommunicator:
    orders = ServiceCommunicator("orders", version=version)
    orders.sends("order.placed", placed)
    return orders


@contextmanager
def _clone(folder: Path) -> Iterator[None]:
    """Have new services be written into a folder, and be found there."""
    (folder / "tests/unit/services").mkdir(parents=True)
    (folder / "services").mkdir()
    shutil.copy(ROOT / "Procfile", folder)
    services.__path__.append(str(folder / "services"))
    before = set(sys.modules)
    try:
        with override_settings(BASE_DIR=folder):
            yield
    finally:
        services.__path__.remove(str(folder / "services"))
        for name in set(sys.modules) - before:
            if name.startswith("services."):
                del sys.modules[name]


def _invoices_are_made(player: Player) -> None:
    """The page's handler makes one for the order that the message names."""
    assert player.names["Order"].made == [{"customer": "Ada"}]
    assert player.bus.sent("invoice.create", priority="CRITICAL").once
    player.bus.settle()
    assert player.names["Invoice"].made == [{"order_id": 7}]


def _orders_are_placed(player: Player) -> None:
    """Once, and billing is told; what they cost is answered."""
    player.bus.send("orders-service", "order.place", {"id": 7})
    assert player.bus.sent("order.placed", data={"id": 7}).once
    assert player.bus.sent("invoice.create", target="billing-service", data={"id": 7}).once
    assert player.bus.request("orders-service", "order.price", {"count": 2}) == {"total": 10}


def _parts_are_services(player: Player) -> None:
    """The same customer is always the same part's."""
    sent = player.bus.sent("invoice.create").only
    assert sent.target.startswith("billing-")
    assert sent.data == {"customer": "c7", "order": 7}


#: What more there is to see once all of a page has run.
AFTERWARDS: Final[dict[str, Callable[[Player], None]]] = {
    "README.md": _invoices_are_made,
    "docs/index.md": _orders_are_placed,
    "docs/scaling.md": _parts_are_services,
}
