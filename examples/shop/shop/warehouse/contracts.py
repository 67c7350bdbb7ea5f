"""The messages of warehouse: the one file of it that another team needs to read."""

from typing import Final

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

SERVICE: Final = "warehouse"

#: Request `CountStock`, answered with `StockCount`; of what it never had there is none.
STOCK_COUNT: Final = "stock.count"
#: Command `SendParcel`: what is reserved for an order leaves the house.
PARCEL_SEND: Final = "parcel.send"

#: Events `StockOfOrder`, CRITICAL: the goods are kept for an order; there are not enough of them.
STOCK_RESERVED: Final = "stock.reserved"
STOCK_REFUSED: Final = "stock.refused"
#: Event `StockLow`, NORMAL: said when few are left. Advice, which may be lost.
STOCK_LOW: Final = "stock.low"

#: What it listens to: events `OrderPlaced` and `OrderCancelled`.
ORDER_PLACED: Final = "order.placed"
ORDER_CANCELLED: Final = "order.cancelled"


class Incoming(BaseModel):
    """What this service takes."""

    # Strict: "2" is no number.
    model_config = ConfigDict(strict=True)


class CountStock(Incoming):
    """How much of a product is there?"""

    sku: str


class StockCount(TypedDict):
    """How much may still be ordered."""

    available: int


class SendParcel(Incoming):
    """Whose parcel is to be sent."""

    order: str


class OrderPlaced(Incoming):
    """What is needed of it."""

    order: str
    sku: str
    quantity: int


class OrderCancelled(Incoming):
    """What is needed of it."""

    order: str


class StockOfOrder(TypedDict):
    """Of which order."""

    order: str


class StockLow(TypedDict):
    """Somebody should buy more of it."""

    sku: str
    available: int
