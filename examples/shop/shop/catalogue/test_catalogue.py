"""Catalogue by itself, and with a warehouse that answers or does not."""

import pytest

from messaging import RemoteError
from messaging.testing import Harness
from shop.catalogue.handlers import communicator


def warehouse(bus: Harness, available: int) -> None:
    """Run a stand-in for the warehouse; what it answers is in the contract of catalogue."""
    speaker = bus.speaker("warehouse")
    speaker.on_message("stock.count")(lambda _data: {"available": available})
    bus.service(speaker)


def test_a_product_has_its_price_and_what_the_warehouse_has_of_it(bus: Harness) -> None:
    warehouse(bus, available=7)
    bus.service(communicator)
    answer = bus.request("catalogue", "product.get", {"sku": "mug"})
    assert answer == {"sku": "mug", "name": "A mug", "cents": 900, "stock": 7}


def test_without_a_warehouse_it_has_its_price_all_the_same(bus: Harness) -> None:
    warehouse(bus, available=7)
    bus.service(communicator)
    bus.stop("warehouse")
    answer = bus.request("catalogue", "product.get", {"sku": "mug"})
    assert (answer["cents"], answer["stock"]) == (900, None)


def test_a_product_that_there_is_not_is_not_found(bus: Harness) -> None:
    bus.service(communicator)
    with pytest.raises(RemoteError, match="there is no product 'car'") as caught:
        bus.request("catalogue", "product.get", {"sku": "car"})
    assert caught.value.code == "not_found"
