"""All five services together: whatever happens in between, the books balance at the end."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging import RemoteError
from messaging.testing import Harness
from shop.catalogue.handlers import communicator as catalogue
from shop.notifications.handlers import communicator as notifications
from shop.orders.handlers import communicator as orders
from shop.orders.models import Order
from shop.payments import provider
from shop.payments.handlers import communicator as payments
from shop.payments.provider import CARD_GOOD, CARD_REFUSED, CARD_UNLUCKY
from shop.story.books import read_books
from shop.warehouse.handlers import communicator as warehouse

SERVICES = (catalogue, orders, warehouse, payments, notifications)
#: Every step of the saga that changes something, by who handles it.
STEPS = [
    ("orders", "order.place"),
    ("warehouse", "order.placed"),
    ("payments", "order.placed"),
    ("payments", "stock.reserved"),
    ("orders", "stock.reserved"),
    ("orders", "payment.captured"),
    ("orders", "payment.refused"),
    ("orders", "stock.refused"),
    ("warehouse", "parcel.send"),
    ("warehouse", "order.cancelled"),
    ("payments", "order.cancelled"),
    ("notifications", "order.placed"),
    ("notifications", "mail.send"),
]
CARDS = (CARD_GOOD, CARD_REFUSED, CARD_UNLUCKY)
MOMENTS = ("before", "during", "after")
#: What may fail at times: the provider does not answer, nor does a catalogue that is down.
MAY_FAIL = {"stock.reserved", "order.place"}
_numbers = itertools.count()


def everybody(bus: Harness) -> Harness:
    for service in SERVICES:
        bus.service(service)
    return bus


def place(bus: Harness, card: str = CARD_GOOD, sku: str = "mug", quantity: int = 1) -> str:
    """Order something by a command that is kept until it is handled; return the number."""
    number = f"order-{next(_numbers):06}"
    data = {"order": number, "email": "ada@example.com", "sku": sku, "quantity": quantity}
    bus.send("orders", "order.place", {**data, "card": card}, durable=True)
    return number


def state(number: str) -> str:
    return Order.objects.get(number=number).state


def settle(bus: Harness) -> None:
    """Let pass what the longest pauses between attempts and copies take."""
    for _ in range(3):
        bus.advance("10m")


def require_balance(bus: Harness) -> None:
    assert read_books().differences() == []
    assert {fact.type for fact in bus.failed()} <= MAY_FAIL
    # A command to cancel what is confirmed by then.
    assert {(fact.type, fact.reason) for fact in bus.parked()} <= {("order.cancel", "rejected")}
    # Advice to buy may be lost with the broker: it is NORMAL.
    assert {fact.type for fact in bus.unaccounted()} <= {"stock.low"}


@pytest.fixture
def shop(bus: Harness) -> Iterator[Harness]:
    """All five services; at the end of each test the books must balance."""
    yield everybody(bus)
    settle(bus)
    require_balance(bus)


def test_an_order_is_confirmed_and_everybody_has_done_a_part(shop: Harness) -> None:
    number = place(shop, quantity=2)
    assert state(number) == "confirmed"
    assert provider.charged() == {number: 1800}
    # One conversation, from the order to the last e-mail.
    assert len({fact.correlation_id for fact in shop.facts()}) == 1


def test_a_refused_card_undoes_what_was_done(shop: Harness) -> None:
    assert state(place(shop, CARD_REFUSED)) == "cancelled"
    assert shop.sent("order.cancelled", data={"reason": "your card was refused"}).once


def test_what_is_sold_out_is_not_charged(shop: Harness) -> None:
    assert [state(place(shop, sku="lamp")) for _ in range(4)] == ["confirmed"] * 3 + ["cancelled"]
    assert len(provider.charged()) == 3
    assert shop.handled("stock.low").once


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("service", "message"), STEPS)
def test_a_crash_at_any_step_changes_nothing(
    shop: Harness, service: str, message: str, moment: str
) -> None:
    shop.crash(service, times=2, **{moment: message})
    shop.duplicate(message, service=service)
    numbers = [place(shop, CARD_GOOD), place(shop, CARD_REFUSED)]
    numbers.append(place(shop, sku="lamp", quantity=4))
    settle(shop)
    assert [state(number) for number in numbers] == ["confirmed", "cancelled", "cancelled"]


def test_without_a_catalogue_no_order_is_stored_and_one_that_is_kept_waits(
    shop: Harness,
) -> None:
    shop.stop("catalogue")
    number = place(shop)
    data = {"order": "order-asked", "email": "ada@example.com", "sku": "mug", "quantity": 1}
    with pytest.raises(RemoteError):
        shop.request("orders", "order.place", {**data, "card": CARD_GOOD})
    assert not Order.objects.exists()
    shop.start("catalogue")
    settle(shop)
    assert state(number) == "confirmed"
    assert Order.objects.count() == 1


def test_a_customer_may_cancel_between_the_goods_and_the_money(shop: Harness) -> None:
    number = place(shop, CARD_UNLUCKY)
    assert state(number) == "reserved"
    shop.request("orders", "order.cancel", {"order": number})
    settle(shop)
    assert state(number) == "cancelled"
    assert provider.charged() == {}


def test_money_that_comes_after_the_cancellation_is_given_back(shop: Harness) -> None:
    shop.stop("orders")
    number = place(shop)
    shop.crash("orders", before="payment.captured")
    shop.stop("payments")
    shop.start("orders")
    shop.speaker("front-desk").send_to_service("orders", "order.cancel", {"order": number})
    shop.stop("warehouse")
    shop.settle()
    assert state(number) == "cancelled"
    shop.start("payments")
    shop.start("warehouse")


def test_receipts_that_get_lost_charge_nobody_twice(shop: Harness) -> None:
    with ExitStack() as unheard:
        for service in ("warehouse", "payments", "orders", "notifications"):
            unheard.enter_context(shop.drop_receipts(service))
        number = place(shop)
        shop.advance("5m")
    assert state(number) == "confirmed"
    assert provider.charged() == {number: 900}


def test_a_broker_that_loses_everything_loses_no_order(shop: Harness) -> None:
    for service in ("warehouse", "payments", "notifications"):
        shop.stop(service)
    numbers = [place(shop) for _ in range(3)]
    shop.wipe_broker()
    for service in ("warehouse", "payments", "notifications"):
        shop.start(service)
    settle(shop)
    assert {state(number) for number in numbers} == {"confirmed"}


_names = st.sampled_from([service.name for service in SERVICES])
_actions = st.one_of(
    st.tuples(
        st.just("place"),
        st.sampled_from(CARDS),
        st.sampled_from(("mug", "lamp")),
        st.integers(1, 2),
    ),
    st.tuples(st.just("place"), st.just(CARD_GOOD), st.just("mug"), st.just(1)),
    st.tuples(st.just("cancel"), st.integers(0, 3)),
    st.tuples(st.just("stop"), _names),
    st.tuples(st.just("start"), _names),
    st.tuples(st.just("duplicate"), st.sampled_from(STEPS)),
    st.tuples(st.just("wipe")),
    st.tuples(st.just("advance"), st.sampled_from(("1s", "5s", "40s"))),
)
_crashes = st.lists(
    st.tuples(st.sampled_from(STEPS), st.sampled_from(MOMENTS)), max_size=2, unique=True
)


def do(bus: Harness, action: tuple[Any, ...], numbers: list[str]) -> None:
    match action:
        case "place", card, sku, quantity:
            numbers.append(place(bus, card, sku, quantity))
        case "cancel", index if index < len(numbers):
            # As a command: a request would have to wait for a service that is down.
            bus.send("orders", "order.cancel", {"order": numbers[index]}, durable=True)
        case "stop", service:
            bus.stop(service)
        case "start", service:
            bus.start(service)
        case "duplicate", (service, message):
            bus.duplicate(message, service=service)
        case ("wipe",):
            bus.wipe_broker()
        case "advance", duration:
            bus.advance(duration)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(crashes=_crashes, actions=st.lists(_actions, min_size=1, max_size=10))
def test_the_books_balance_whatever_happens_in_whatever_order(
    db: None, crashes: list[tuple[tuple[str, str], str]], actions: list[tuple[Any, ...]]
) -> None:
    """Books of one example lie above those of the examples before it: all balance, or none."""
    numbers: list[str] = []
    with Harness() as bus:
        everybody(bus)
        for (service, message), moment in crashes:
            bus.crash(service, times=1, **{moment: message})
        for action in actions:
            do(bus, action, numbers)
        for each in SERVICES:
            bus.start(each.name)
        settle(bus)
        require_balance(bus)
