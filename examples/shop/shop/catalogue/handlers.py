"""What catalogue does with the messages it gets."""

from typing import Any, Final

from messaging import MessagingError, Reject, Route, ServiceCommunicator
from shop.catalogue import contracts
from shop.catalogue.contracts import (
    PRODUCT_GET,
    PRODUCT_PATH,
    SERVICE,
    STOCK_COUNT,
    WAREHOUSE,
    GetProduct,
    StockCount,
    StockQuestion,
)
from shop.catalogue.models import Product

communicator = ServiceCommunicator(
    SERVICE, version="1.0.0", routes=[Route(path=PRODUCT_PATH, message=PRODUCT_GET, timeout=5.0)]
)
communicator.sends(STOCK_COUNT, StockQuestion, to=WAREHOUSE, answer=StockCount)

#: A page without the stock is better than one that comes late.
STOCK_SECONDS: Final = 1.0


class ProductNotFound(Reject):
    """There is no such product. Over HTTP: 404."""

    code = "not_found"


@communicator.on_message(PRODUCT_GET, schema=GetProduct, answers=contracts.Product)
async def get_product(wanted: GetProduct) -> contracts.Product:
    """Answer with a product, and how many the warehouse has; without that while it is down."""
    product = await Product.objects.filter(sku=wanted.sku).afirst()
    if product is None:
        raise ProductNotFound(f"there is no product {wanted.sku!r}")
    return {
        "sku": product.sku,
        "name": product.name,
        "cents": product.cents,
        "stock": await _stock(product.sku),
    }


async def _stock(sku: str) -> int | None:
    try:
        count: dict[str, Any] = await communicator.request_async(
            WAREHOUSE, STOCK_COUNT, {"sku": sku}, timeout=STOCK_SECONDS
        )
    except MessagingError:
        return None
    return int(count["available"])
