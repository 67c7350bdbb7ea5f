"""What orders does with the messages it gets.

Nobody coordinates the saga: this service says that an order was placed, and learns from events of
the others how far it is. Each event moves the order in one transaction with what follows from it.
"""

from typing import Final

from django.db import transaction

from messaging import MessagePriority, Reject, RemoteError, Route, ServiceCommunicator
from shop.orders.contracts import (
    CANCEL_PATH,
    CATALOGUE,
    ORDER_CANCEL,
    ORDER_CANCELLED,
    ORDER_CONFIRMED,
    ORDER_GET,
    ORDER_PATH,
    ORDER_PLACE,
    ORDER_PLACED,
    ORDERS_PATH,
    PARCEL_SEND,
    PAYMENT_CAPTURED,
    PAYMENT_REFUSED,
    PRODUCT_GET,
    SERVICE,
    STOCK_REFUSED,
    STOCK_RESERVED,
    WAREHOUSE,
    OfOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderState,
    PlaceOrder,
    ProductPrice,
    ProductQuestion,
    SendParcel,
    WhichOrder,
)
from shop.orders.models import Order

#: Long for a look into a table, short for a customer who waits...
PRICE_SECONDS: Final = 2.0
#: ...and what is told 504 after this may be asked again: it is the same order.
ANSWER_SECONDS: Final = 5.0

communicator = ServiceCommunicator(
    SERVICE,
    version="1.0.0",
    routes=[
        Route(path=ORDERS_PATH, methods=("POST",), message=ORDER_PLACE, timeout=ANSWER_SECONDS),
        Route(path=ORDER_PATH, message=ORDER_GET, timeout=ANSWER_SECONDS),
        Route(path=CANCEL_PATH, methods=("POST",), message=ORDER_CANCEL, timeout=ANSWER_SECONDS),
    ],
)
communicator.sends(ORDER_PLACED, OrderPlaced)
communicator.sends(ORDER_CONFIRMED, OrderConfirmed)
communicator.sends(ORDER_CANCELLED, OrderCancelled)
communicator.sends(PARCEL_SEND, SendParcel, to=WAREHOUSE)
communicator.sends(PRODUCT_GET, ProductQuestion, to=CATALOGUE, answer=ProductPrice)

CRITICAL: Final = MessagePriority.CRITICAL
#: An order in one of these may still go either way.
OPEN: Final = (Order.State.PLACED, Order.State.RESERVED)


class NotFound(Reject):
    """There is no such order, or product. Over HTTP: 404."""

    code = "not_found"


class TooLate(Reject):
    """The order is confirmed. Over HTTP: 409."""

    code = "conflict"


@communicator.on_message(ORDER_PLACE, schema=PlaceOrder, answers=OrderState)
def place_order(wanted: PlaceOrder) -> OrderState:
    """Store an order and say so: both or neither.

    Safe to ask again: the number decides that it is the same order. The price is asked for outside
    of the transaction, which keeps nobody waiting for another service.
    """
    order = Order.objects.filter(number=wanted.order).first()
    if order is None:
        cents = _price(wanted.sku) * wanted.quantity
        with transaction.atomic():
            order = _store(wanted, cents)
    return _state(order)


@communicator.on_message(ORDER_GET, schema=WhichOrder, answers=OrderState)
def get_order(wanted: WhichOrder) -> OrderState:
    """Answer with the state of an order."""
    return _state(_find(wanted.order))


@communicator.on_message(ORDER_CANCEL, schema=WhichOrder, answers=OrderState, atomic=True)
def cancel_order(wanted: WhichOrder) -> OrderState:
    """Cancel an order, unless it is confirmed. Asked again it stays cancelled."""
    _cancel(wanted.order, "as you wished")
    order = _find(wanted.order)
    if order.state == Order.State.CONFIRMED:
        raise TooLate(f"order {order.number} is confirmed, the parcel is on its way")
    return _state(order)


@communicator.on_message(STOCK_RESERVED, schema=OfOrder, atomic=True)
def note_reserved(event: OfOrder) -> None:
    """The goods are kept; it is for payments to take the money now."""
    _move(event.order, Order.State.RESERVED)


@communicator.on_message(PAYMENT_CAPTURED, schema=OfOrder, atomic=True)
def confirm(event: OfOrder) -> None:
    """It is paid: tell everybody, and have the parcel sent.

    An order that was cancelled meanwhile stays so: payments gives the money back by itself.
    """
    if _move(event.order, Order.State.CONFIRMED):
        order = Order.objects.get(number=event.order)
        data: OrderConfirmed = {"order": order.number, "email": order.email}
        communicator.broadcast(ORDER_CONFIRMED, data, priority=CRITICAL)
        parcel: SendParcel = {"order": order.number}
        communicator.send_to_service(WAREHOUSE, PARCEL_SEND, parcel, priority=CRITICAL)


@communicator.on_message(STOCK_REFUSED, schema=OfOrder, atomic=True)
def note_sold_out(event: OfOrder) -> None:
    """There are not enough goods."""
    _cancel(event.order, "it is sold out")


@communicator.on_message(PAYMENT_REFUSED, schema=OfOrder, atomic=True)
def note_card_refused(event: OfOrder) -> None:
    """Nobody pays; the warehouse hears of the cancellation and puts the goods back."""
    _cancel(event.order, "your card was refused")


def _price(sku: str) -> int:
    try:
        product = communicator.request(CATALOGUE, PRODUCT_GET, {"sku": sku}, timeout=PRICE_SECONDS)
    except RemoteError as exc:
        if exc.code != NotFound.code:
            raise
        raise NotFound(exc.message) from exc
    return int(product["cents"])


def _store(wanted: PlaceOrder, cents: int) -> Order:
    order, is_new = Order.objects.get_or_create(
        number=wanted.order,
        defaults={
            "email": wanted.email,
            "sku": wanted.sku,
            "quantity": wanted.quantity,
            "cents": cents,
        },
    )
    if is_new:
        data: OrderPlaced = {
            "order": order.number,
            "email": order.email,
            "sku": order.sku,
            "quantity": order.quantity,
            "cents": order.cents,
            "card": wanted.card,
        }
        communicator.broadcast(ORDER_PLACED, data, priority=CRITICAL)
    return order


def _cancel(number: str, reason: str) -> None:
    if _move(number, Order.State.CANCELLED, reason):
        order = Order.objects.get(number=number)
        data: OrderCancelled = {"order": number, "email": order.email, "reason": reason}
        communicator.broadcast(ORDER_CANCELLED, data, priority=CRITICAL)


def _move(number: str, state: Order.State, reason: str = "") -> bool:
    """Move an open order; return whether it was open. One statement: nobody comes in between."""
    open_ones = Order.objects.filter(number=number, state__in=OPEN)
    return bool(open_ones.update(state=state, reason=reason))


def _find(number: str) -> Order:
    order = Order.objects.filter(number=number).first()
    if order is None:
        raise NotFound(f"there is no order {number!r}")
    return order


def _state(order: Order) -> OrderState:
    return {
        "order": order.number,
        "state": order.state,
        "cents": order.cents,
        "reason": order.reason,
    }
