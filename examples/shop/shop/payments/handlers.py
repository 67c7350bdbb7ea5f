"""What payments does with the messages it gets.

``atomic=True`` holds together what is in the shop's database. The provider is not in it: each
charge has the order's number as its key, and so is one charge however often it is asked for.
"""

from typing import Final

from messaging import MessagePriority, Retry, RetryPolicy, ServiceCommunicator
from shop.payments import provider
from shop.payments.contracts import (
    ORDER_CANCELLED,
    ORDER_PLACED,
    PAYMENT_CAPTURED,
    PAYMENT_REFUNDED,
    PAYMENT_REFUSED,
    SERVICE,
    STOCK_RESERVED,
    OrderCancelled,
    OrderPlaced,
    PaymentOfOrder,
    StockReserved,
)
from shop.payments.models import Payment

communicator = ServiceCommunicator(SERVICE, version="1.0.0")
communicator.sends(PAYMENT_CAPTURED, PaymentOfOrder)
communicator.sends(PAYMENT_REFUSED, PaymentOfOrder)
communicator.sends(PAYMENT_REFUNDED, PaymentOfOrder)

#: Of what asks the provider: one attempt at a time, pauses that grow to a minute, for ever.
PATIENT: Final = RetryPolicy(
    immediate=1, delayed=None, base_seconds=1.0, factor=2.0, cap_seconds=60.0, floor_seconds=0.2
)
#: An order's events come in any order; those before it are soon there.
SOON_SECONDS: Final = 0.5


@communicator.on_message(ORDER_PLACED, schema=OrderPlaced, atomic=True)
def note_due(event: OrderPlaced) -> None:
    """Note what is due. Nothing is taken before the goods are kept."""
    Payment.objects.get_or_create(
        order=event.order,
        defaults={"cents": event.cents, "card": event.card, "state": Payment.State.DUE},
    )


@communicator.on_message(STOCK_RESERVED, schema=StockReserved, atomic=True, retry=PATIENT)
def capture(event: StockReserved) -> None:
    """Take the money, and say so; or say that the card was refused.

    A refused card is no error: nothing would be better at the next attempt, and with
    `messaging.Reject` nobody would be told. It is an answer, and the saga goes on from there.
    """
    payment = _payment(event.order)
    if payment is None:
        raise Retry(SOON_SECONDS)
    if payment.state != Payment.State.DUE:
        return
    try:
        provider.charge(payment.order, payment.card, payment.cents)
    except provider.CardRefused:
        _end(payment, Payment.State.REFUSED, PAYMENT_REFUSED)
    else:
        _end(payment, Payment.State.CAPTURED, PAYMENT_CAPTURED)


@communicator.on_message(ORDER_CANCELLED, schema=OrderCancelled, atomic=True, retry=PATIENT)
def call_off(event: OrderCancelled) -> None:
    """Give back what was taken. Where nothing was, nothing will be, whatever comes later.

    The provider is told also where nothing is noted as taken: this service may have died between
    the charge and its note.
    """
    payment = _payment(event.order)
    if payment is None:
        Payment.objects.create(order=event.order, cents=0, card="", state=Payment.State.CALLED_OFF)
        return
    provider.refund(payment.order)
    if payment.state == Payment.State.CAPTURED:
        _end(payment, Payment.State.REFUNDED, PAYMENT_REFUNDED)
    elif payment.state == Payment.State.DUE:
        payment.state = Payment.State.CALLED_OFF
        payment.save()


def _payment(order: str) -> Payment | None:
    """Return an order's payment, locked until the commit where the database has such locks."""
    return Payment.objects.select_for_update().filter(order=order).first()


def _end(payment: Payment, state: Payment.State, event: str) -> None:
    payment.state = state
    payment.save()
    data: PaymentOfOrder = {"order": payment.order, "cents": payment.cents}
    communicator.broadcast(event, data, priority=MessagePriority.CRITICAL)
