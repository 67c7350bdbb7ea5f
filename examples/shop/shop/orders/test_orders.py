"""Orders by itself: the others are played by the test."""

from typing import Any

import pytest

from messaging import Reject, RemoteError
from messaging.testing import Harness
from shop.orders.handlers import communicator
from shop.orders.models import Order

NUMBER = "order-0001"
WANTED = {
    "order": NUMBER,
    "email": "ada@example.com",
    "sku": "mug",
    "quantity": 2,
    "card": "card-good",
}


@pytest.fixture(autouse=True)
def _runs(bus: Harness) -> None:
    catalogue = bus.speaker("catalogue")

    @catalogue.on_message("product.get")
    def get_product(data: dict[str, Any]) -> dict[str, Any]:
        if data["sku"] != "mug":
            raise Reject("there is no such product", code="not_found")
        return {"sku": "mug", "name": "A mug", "cents": 900, "stock": None}

    bus.service(catalogue)
    bus.service(communicator)


def place(bus: Harness, **changes: Any) -> Any:
    return bus.request("orders", "order.place", {**WANTED, **changes})


def happen(bus: Harness, event: str) -> None:
    bus.broadcast(event, {"order": NUMBER, "cents": 1800}, priority="CRITICAL")


def state(bus: Harness) -> str:
    return str(bus.request("orders", "order.get", {"order": NUMBER})["state"])


def test_an_order_is_stored_with_its_price_and_told_to_everybody(bus: Harness) -> None:
    assert place(bus) == {"order": NUMBER, "state": "placed", "cents": 1800, "reason": ""}
    event = bus.sent("order.placed").only
    assert event.data == {**WANTED, "cents": 1800}
    assert event.priority == "CRITICAL"


def test_an_order_that_is_sent_again_is_the_same_order(bus: Harness) -> None:
    place(bus)
    happen(bus, "stock.reserved")
    assert place(bus)["state"] == "reserved"
    assert bus.sent("order.placed").once


def test_an_order_as_a_command_is_one_order_though_its_worker_is_killed(bus: Harness) -> None:
    bus.crash("orders", during="order.place", times=2)
    bus.send("orders", "order.place", WANTED, durable=True)
    assert bus.handled("order.place").once
    assert bus.sent("order.placed").once


def test_it_goes_from_reserved_to_confirmed_and_the_parcel_is_sent(bus: Harness) -> None:
    place(bus)
    happen(bus, "stock.reserved")
    assert state(bus) == "reserved"
    happen(bus, "payment.captured")
    assert state(bus) == "confirmed"
    assert bus.sent("parcel.send").only.target == "warehouse"
    assert bus.sent("order.confirmed", data={"email": "ada@example.com"}).once


def test_events_may_come_in_another_order(bus: Harness) -> None:
    place(bus)
    happen(bus, "payment.captured")
    happen(bus, "stock.reserved")
    assert state(bus) == "confirmed"


@pytest.mark.parametrize(
    ("event", "reason"),
    [("stock.refused", "it is sold out"), ("payment.refused", "your card was refused")],
)
def test_what_fails_elsewhere_cancels_the_order(bus: Harness, event: str, reason: str) -> None:
    place(bus)
    happen(bus, event)
    assert state(bus) == "cancelled"
    assert bus.sent("order.cancelled", data={"reason": reason}).once
    assert bus.sent("parcel.send").never


def test_a_customer_may_cancel_once_until_it_is_confirmed(bus: Harness) -> None:
    place(bus)
    for _ in range(2):
        answer = bus.request("orders", "order.cancel", {"order": NUMBER})
        assert (answer["state"], answer["reason"]) == ("cancelled", "as you wished")
    happen(bus, "payment.captured")
    assert state(bus) == "cancelled"
    assert bus.sent("order.cancelled").once
    assert bus.sent("parcel.send").never


def test_after_that_it_is_too_late(bus: Harness) -> None:
    place(bus)
    happen(bus, "payment.captured")
    with pytest.raises(RemoteError, match="the parcel is on its way") as caught:
        bus.request("orders", "order.cancel", {"order": NUMBER})
    assert caught.value.code == "conflict"
    assert bus.sent("order.cancelled").never


def test_what_is_not_there_cannot_be_ordered_or_asked_for(bus: Harness) -> None:
    for message, data in (
        ("order.place", {**WANTED, "sku": "car"}),
        ("order.get", {"order": "order-none"}),
        ("order.cancel", {"order": "order-none"}),
    ):
        with pytest.raises(RemoteError) as caught:
            bus.request("orders", message, data)
        assert caught.value.code == "not_found"
    assert not Order.objects.exists()


@pytest.mark.parametrize("change", [{"order": "short"}, {"quantity": 0}, {"quantity": "2"}])
def test_an_order_of_another_shape_is_refused(bus: Harness, change: dict[str, object]) -> None:
    with pytest.raises(RemoteError) as caught:
        place(bus, **change)
    assert caught.value.code == "invalid"
