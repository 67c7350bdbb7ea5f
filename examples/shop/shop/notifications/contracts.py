"""The messages of notifications: the one file of it that another team needs to read.

It asks nobody anything and nobody waits for it: whether it runs makes no difference to an order.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

SERVICE: Final = "notifications"

#: What it listens to: all events of orders, as `OrderNews`, and `StockLow`.
ORDER_NEWS: Final = "order.#"
STOCK_LOW: Final = "stock.low"

#: Command `SendMail`, LOW, to itself: one e-mail on its way to the mail server.
MAIL_SEND: Final = "mail.send"


class Incoming(BaseModel):
    """What this service takes; of fields that it does not know it takes no notice."""

    model_config = ConfigDict(strict=True)


class OrderNews(Incoming):
    """What is needed of an event of orders, those included that are not thought of yet."""

    order: str
    email: str
    reason: str = ""


class StockLow(Incoming):
    """What is needed of it."""

    sku: str
    available: int


class SendMail(Incoming):
    """Which e-mail."""

    mail: int


class MailToSend(TypedDict):
    """Which e-mail."""

    mail: int
