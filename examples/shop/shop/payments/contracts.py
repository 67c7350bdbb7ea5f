"""The messages of payments: the one file of it that another team needs to read.

All events are CRITICAL: each is kept until every subscriber has handled it.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

SERVICE: Final = "payments"

#: Events `PaymentOfOrder`: the money is there; the card was refused; the money was given back.
PAYMENT_CAPTURED: Final = "payment.captured"
PAYMENT_REFUSED: Final = "payment.refused"
PAYMENT_REFUNDED: Final = "payment.refunded"

#: What it listens to: events `OrderPlaced`, `StockReserved` and `OrderCancelled`.
ORDER_PLACED: Final = "order.placed"
STOCK_RESERVED: Final = "stock.reserved"
ORDER_CANCELLED: Final = "order.cancelled"


class Incoming(BaseModel):
    """What this service takes."""

    # Strict: "2" is no number.
    model_config = ConfigDict(strict=True)


class OrderPlaced(Incoming):
    """What is needed of it."""

    order: str
    cents: int
    card: str


class StockReserved(Incoming):
    """What is needed of it."""

    order: str


class OrderCancelled(Incoming):
    """What is needed of it."""

    order: str


class PaymentOfOrder(TypedDict):
    """Of which order."""

    order: str
    cents: int
