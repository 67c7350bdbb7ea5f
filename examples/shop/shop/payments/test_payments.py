"""Payments by itself: each order is charged once, whatever the provider does."""

import pytest

from messaging.testing import Harness
from shop.payments import provider
from shop.payments.handlers import communicator
from shop.payments.models import Payment

NUMBER = "order-0001"
ORDER = {"order": NUMBER, "cents": 900, "email": "", "sku": "mug", "quantity": 1}


@pytest.fixture(autouse=True)
def _runs(bus: Harness) -> None:
    bus.service(communicator)


def happen(bus: Harness, event: str, **data: object) -> None:
    bus.broadcast(event, {"order": NUMBER, **data}, priority="CRITICAL")


def place(bus: Harness, card: str = provider.CARD_GOOD) -> None:
    happen(bus, "order.placed", **{**ORDER, "card": card})


def test_nothing_is_taken_before_the_goods_are_kept(bus: Harness) -> None:
    place(bus)
    assert provider.charged() == {}
    happen(bus, "stock.reserved")
    assert provider.charged() == {NUMBER: 900}
    assert bus.sent("payment.captured", data={"order": NUMBER, "cents": 900}).once


def test_the_events_may_come_in_another_order(bus: Harness) -> None:
    happen(bus, "stock.reserved")
    place(bus)
    assert bus.sent("payment.captured").never
    bus.advance("1s")
    assert bus.sent("payment.captured").once


def test_a_refused_card_is_told_and_not_tried_again(bus: Harness) -> None:
    place(bus, provider.CARD_REFUSED)
    happen(bus, "stock.reserved")
    bus.advance("1h")
    assert bus.sent("payment.refused").once
    assert bus.failed("stock.reserved").never
    assert provider.charged() == {}


def test_a_provider_that_does_not_answer_is_asked_again_later(bus: Harness) -> None:
    place(bus, provider.CARD_UNLUCKY)
    happen(bus, "stock.reserved")
    assert bus.failed("stock.reserved").once
    bus.advance("1m")
    assert bus.failed("stock.reserved").times(provider.FAILURES)
    assert provider.charged() == {NUMBER: 900}
    assert bus.sent("payment.captured").once


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_worker_that_is_killed_charges_once(bus: Harness, moment: str) -> None:
    place(bus)
    bus.crash("payments", times=2, **{moment: "stock.reserved"})
    bus.duplicate("stock.reserved")
    happen(bus, "stock.reserved")
    assert provider.charged() == {NUMBER: 900}
    assert bus.sent("payment.captured").once


def test_what_was_taken_for_a_cancelled_order_is_given_back(bus: Harness) -> None:
    place(bus)
    happen(bus, "stock.reserved")
    happen(bus, "order.cancelled")
    assert provider.charged() == {}
    assert bus.sent("payment.refunded").once


def test_a_charge_that_was_not_noted_is_given_back_as_well(bus: Harness) -> None:
    """The worker died after the charge; before it is asked again, the customer cancels."""
    place(bus)
    provider.charge(NUMBER, provider.CARD_GOOD, 900)
    happen(bus, "order.cancelled")
    assert provider.charged() == {}
    assert Payment.objects.get().state == Payment.State.CALLED_OFF


@pytest.mark.parametrize("is_first", [True, False])
def test_a_cancelled_order_is_not_charged_any_more(bus: Harness, is_first: bool) -> None:
    if is_first:
        happen(bus, "order.cancelled")
        place(bus)
    else:
        place(bus)
        happen(bus, "order.cancelled")
    happen(bus, "stock.reserved")
    assert provider.charged() == {}
    assert bus.failed().never
    assert bus.sent("payment.captured").never
