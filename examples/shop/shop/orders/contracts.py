"""The messages of orders: the one file of it that another team needs to read.

All events are CRITICAL: each is kept until every subscriber has handled it.
"""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

SERVICE: Final = "orders"

#: Request or command `PlaceOrder`, answered with `OrderState`. Also ``POST`` to the path.
ORDER_PLACE: Final = "order.place"
ORDERS_PATH: Final = "/api/orders"
#: Request `WhichOrder`, answered with `OrderState` or ``not_found``. Also ``GET`` of the path.
ORDER_GET: Final = "order.get"
ORDER_PATH: Final = "/api/orders/{order}"
#: Request `WhichOrder`, answered with `OrderState`, ``not_found``, or ``conflict`` where it is too
#: late. Also ``POST`` to the path.
ORDER_CANCEL: Final = "order.cancel"
CANCEL_PATH: Final = "/api/orders/{order}/cancel"

#: Events `OrderPlaced`, `OrderConfirmed`, `OrderCancelled`.
ORDER_PLACED: Final = "order.placed"
ORDER_CONFIRMED: Final = "order.confirmed"
ORDER_CANCELLED: Final = "order.cancelled"

#: What it asks catalogue: request `ProductQuestion`, answered with `ProductPrice`.
CATALOGUE: Final = "catalogue"
PRODUCT_GET: Final = "product.get"
#: What it tells the warehouse: CRITICAL command `SendParcel`.
WAREHOUSE: Final = "warehouse"
PARCEL_SEND: Final = "parcel.send"
#: What it listens to: events `OfOrder`.
STOCK_RESERVED: Final = "stock.reserved"
STOCK_REFUSED: Final = "stock.refused"
PAYMENT_CAPTURED: Final = "payment.captured"
PAYMENT_REFUSED: Final = "payment.refused"

#: Chosen by whoever orders, as random as a UUID: what is sent again is the same order.
OrderNumber = Annotated[str, Field(min_length=8, max_length=40)]


class PlaceOrder(BaseModel):
    """An order."""

    # Strict: "2" is no number.
    model_config = ConfigDict(strict=True)

    order: OrderNumber
    email: str = Field(min_length=3, max_length=200)
    sku: str
    quantity: int = Field(ge=1, le=100)
    #: What the payment provider calls the customer's card; never its number.
    card: str = Field(max_length=100)


class WhichOrder(BaseModel):
    """Which order is meant."""

    model_config = ConfigDict(strict=True)

    order: OrderNumber


class OrderState(TypedDict):
    """How far an order is."""

    order: str
    #: ``placed``, ``reserved``, then ``confirmed`` or ``cancelled``.
    state: str
    #: Of all pieces.
    cents: int
    #: Why it was cancelled; else empty.
    reason: str


class OrderPlaced(TypedDict):
    """Somebody has ordered something."""

    order: str
    email: str
    sku: str
    quantity: int
    cents: int
    card: str


class OrderConfirmed(TypedDict):
    """It is paid, and the parcel will be sent."""

    order: str
    email: str


class OrderCancelled(TypedDict):
    """Nothing comes of it. Whoever has done something for it takes that back."""

    order: str
    email: str
    reason: str


class SendParcel(TypedDict):
    """Send what is reserved for an order."""

    order: str


class ProductQuestion(TypedDict):
    """What does a product cost?"""

    sku: str


class ProductPrice(TypedDict):
    """What is needed of the answer."""

    cents: int


class OfOrder(BaseModel):
    """What is needed of the others' events."""

    model_config = ConfigDict(strict=True)

    order: str
