"""The messages of catalogue: the one file of it that another team needs to read."""

from typing import Final

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

SERVICE: Final = "catalogue"

#: Request `GetProduct`, answered with `Product` or ``not_found``. Also ``GET`` of the path.
PRODUCT_GET: Final = "product.get"
PRODUCT_PATH: Final = "/api/products/{sku}"

#: What it asks the warehouse: request `StockQuestion`, answered with `StockCount`.
WAREHOUSE: Final = "warehouse"
STOCK_COUNT: Final = "stock.count"


class GetProduct(BaseModel):
    """Which product is wanted."""

    # Strict: 7 is no text.
    model_config = ConfigDict(strict=True)

    sku: str


class Product(TypedDict):
    """A product as it is sold now."""

    sku: str
    name: str
    #: Of one piece.
    cents: int
    #: How many may still be ordered; None: the warehouse does not say just now.
    stock: int | None


class StockQuestion(TypedDict):
    """How much of a product is there?"""

    sku: str


class StockCount(TypedDict):
    """What is needed of the answer."""

    available: int
