"""What warehouse does with the messages it gets.

``atomic=True``: what a handler writes, what it says and that the message is handled commit
together. Killed anywhere in between, nothing of it has happened, and the message comes again.
"""

from typing import Final

from django.db import transaction
from django.db.models import F

from messaging import MessagePriority, Reject, ServiceCommunicator
from shop.warehouse import contracts
from shop.warehouse.contracts import (
    ORDER_CANCELLED,
    ORDER_PLACED,
    PARCEL_SEND,
    SERVICE,
    STOCK_COUNT,
    STOCK_LOW,
    STOCK_REFUSED,
    STOCK_RESERVED,
    CountStock,
    OrderCancelled,
    OrderPlaced,
    SendParcel,
    StockCount,
    StockLow,
    StockOfOrder,
)
from shop.warehouse.models import Reservation, Stock

communicator = ServiceCommunicator(SERVICE, version="1.0.0")
communicator.sends(STOCK_RESERVED, StockOfOrder)
communicator.sends(STOCK_REFUSED, StockOfOrder)
communicator.sends(STOCK_LOW, StockLow)

CRITICAL: Final = MessagePriority.CRITICAL


@communicator.on_message(STOCK_COUNT, schema=CountStock, answers=StockCount)
def count_stock(wanted: CountStock) -> StockCount:
    """Answer with what may still be ordered."""
    stock = Stock.objects.filter(sku=wanted.sku).first()
    return {"available": stock.available if stock else 0}


@communicator.on_message(ORDER_PLACED, schema=OrderPlaced, atomic=True)
def reserve(event: OrderPlaced) -> None:
    """Keep the goods of an order, and say so; or say that there are not enough."""
    if Reservation.objects.filter(order=event.order).exists():
        return  # it was cancelled, and that came first
    # One statement that looks and takes: two orders cannot have the same last piece.
    enough = Stock.objects.filter(sku=event.sku, available__gte=event.quantity)
    is_taken = bool(enough.update(available=F("available") - event.quantity))
    Reservation.objects.create(
        order=event.order,
        sku=event.sku,
        quantity=event.quantity,
        state=Reservation.State.RESERVED if is_taken else Reservation.State.REFUSED,
    )
    data: StockOfOrder = {"order": event.order}
    communicator.broadcast(STOCK_RESERVED if is_taken else STOCK_REFUSED, data, priority=CRITICAL)
    if is_taken:
        _tell_if_low(event.sku, event.quantity)


@communicator.on_message(ORDER_CANCELLED, schema=OrderCancelled, atomic=True)
def release(event: OrderCancelled) -> None:
    """Put back what was kept for an order. One that comes before its order keeps that out."""
    reservation, is_first = Reservation.objects.get_or_create(
        order=event.order, defaults={"quantity": 0, "state": Reservation.State.RELEASED}
    )
    if not is_first and _end(event.order, Reservation.State.RELEASED):
        Stock.objects.filter(sku=reservation.sku).update(
            available=F("available") + reservation.quantity
        )


@communicator.on_message(PARCEL_SEND, schema=SendParcel, atomic=True)
def send_parcel(wanted: SendParcel) -> None:
    """Send what was kept for an order.

    Where nothing was, trying again cures nothing: the command is a dead letter for people.
    """
    if not _end(wanted.order, Reservation.State.SENT):
        raise Reject(f"nothing is kept for order {wanted.order}")


def _end(order: str, state: Reservation.State) -> bool:
    """End a reservation; return whether it had not ended before."""
    kept = Reservation.objects.filter(order=order, state=Reservation.State.RESERVED)
    return bool(kept.update(state=state))


def _tell_if_low(sku: str, taken: int) -> None:
    """Say that few are left, by the order that makes it so.

    After the commit and NORMAL: if this process dies in between nobody is told, and that is fine.
    """
    stock = Stock.objects.get(sku=sku)
    if stock.available <= stock.low_mark < stock.available + taken:
        data: contracts.StockLow = {"sku": sku, "available": stock.available}
        transaction.on_commit(lambda: _tell(data), robust=True)


def _tell(data: contracts.StockLow) -> None:
    communicator.broadcast(STOCK_LOW, data)
