"""Warehouse by itself: what it takes from the shelf, and what it puts back."""

import pytest

from messaging.testing import Harness
from shop.warehouse.handlers import communicator
from shop.warehouse.models import Reservation, Stock

ORDER = {
    "order": "order-0001",
    "sku": "lamp",
    "quantity": 1,
    "cents": 4900,
    "card": "",
    "email": "",
}
CANCELLED = {"order": "order-0001", "email": "", "reason": ""}
LAMPS = 3


@pytest.fixture(autouse=True)
def _runs(bus: Harness) -> None:
    bus.service(communicator)


def lamps() -> int:
    return Stock.objects.get(sku="lamp").available


def happen(bus: Harness, event: str, data: object) -> None:
    bus.broadcast(event, data, priority="CRITICAL")


def test_an_order_takes_its_goods_from_what_is_there(bus: Harness) -> None:
    happen(bus, "order.placed", ORDER)
    assert lamps() == LAMPS - 1
    assert bus.request("warehouse", "stock.count", {"sku": "lamp"}) == {"available": LAMPS - 1}
    assert bus.sent("stock.reserved", data={"order": "order-0001"}).once


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_worker_that_is_killed_reserves_once(bus: Harness, moment: str) -> None:
    bus.crash("warehouse", times=2, **{moment: "order.placed"})
    bus.duplicate("order.placed")
    happen(bus, "order.placed", ORDER)
    assert lamps() == LAMPS - 1
    assert bus.handled("order.placed").once
    assert bus.sent("stock.reserved").once


def test_who_comes_too_late_gets_nothing(bus: Harness) -> None:
    happen(bus, "order.placed", {**ORDER, "quantity": LAMPS + 1})
    assert lamps() == LAMPS
    assert bus.sent("stock.refused").once
    happen(bus, "order.cancelled", CANCELLED)
    assert lamps() == LAMPS


def test_a_cancelled_order_is_put_back_once(bus: Harness) -> None:
    happen(bus, "order.placed", ORDER)
    happen(bus, "order.cancelled", CANCELLED)
    happen(bus, "order.cancelled", CANCELLED)
    assert lamps() == LAMPS


def test_an_order_that_was_cancelled_before_it_came_takes_nothing(bus: Harness) -> None:
    happen(bus, "order.cancelled", CANCELLED)
    happen(bus, "order.placed", ORDER)
    assert lamps() == LAMPS
    assert bus.handled("order.placed").once
    assert bus.sent("stock.reserved").never


def test_a_parcel_is_sent_of_what_is_kept_and_of_nothing_else(bus: Harness) -> None:
    bus.send("warehouse", "parcel.send", {"order": "order-0001"}, priority="CRITICAL")
    assert bus.parked("parcel.send", reason="rejected").once
    happen(bus, "order.placed", ORDER)
    bus.send("warehouse", "parcel.send", {"order": "order-0001"}, priority="CRITICAL")
    assert Reservation.objects.get().state == Reservation.State.SENT
    assert lamps() == LAMPS - 1


def test_few_left_is_said_by_the_order_that_makes_it_so(bus: Harness) -> None:
    for number in range(LAMPS):
        happen(bus, "order.placed", {**ORDER, "order": f"order-{number:04}"})
    assert bus.sent("stock.low").only.data == {"sku": "lamp", "available": 2}


def test_of_what_it_never_had_there_is_none(bus: Harness) -> None:
    assert bus.request("warehouse", "stock.count", {"sku": "car"}) == {"available": 0}
