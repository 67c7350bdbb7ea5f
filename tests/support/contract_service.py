"""A service whose contract its environment decides, run by `celery worker` and by `bus_contracts`.

CONTRACT_SERVICE is `orders`, which broadcasts, or `billing`, which consumes that and is asked by
it; CONTRACT_VERSION names the version. An order has a coupon from 1.1 on and no total in 2.0;
billing wants a currency in 2.0.
"""

import os
from pathlib import Path
from typing import Any

import django

django.setup()

from celery.signals import worker_ready  # noqa: E402
from pydantic import BaseModel, create_model  # noqa: E402

from messaging import ServiceCommunicator  # noqa: E402
from tests.support.journal import Journal  # noqa: E402

NAME = os.environ["CONTRACT_SERVICE"]
VERSION = os.environ["CONTRACT_VERSION"]
communicator = ServiceCommunicator(NAME, version=VERSION)


class Line(BaseModel):
    article: str
    count: int


class Quote(BaseModel):
    order: int


class Price(BaseModel):
    cents: int
    currency: str = "EUR"


class Cents(BaseModel):
    cents: int


def order() -> type[BaseModel]:
    fields: dict[str, Any] = {"id": (int, ...), "lines": (list[Line], [])}
    if VERSION < "2":
        fields["total"] = (int, ...)
    if VERSION >= "1.1":
        fields["coupon"] = (str | None, None)
    return create_model("OrderPlaced", **fields)


class Billed(BaseModel):
    id: int
    total: int


class BilledInCurrency(Billed):
    currency: str


if NAME == "orders":
    communicator.sends("order.placed", order())
    communicator.sends("price.quote", Quote, to="billing", answer=Cents)

if NAME == "billing":

    @communicator.on_message("order.*", schema=Billed if VERSION < "2" else BilledInCurrency)
    def bill(_order: Billed) -> None: ...

    @communicator.on_message("price.quote", schema=Quote, answers=Price)
    def quote(_wanted: Quote) -> dict[str, Any]:
        return {"cents": 100, "currency": "EUR"}


@worker_ready.connect
def on_ready(**_: Any) -> None:
    Journal(Path(os.environ["CONTRACT_JOURNAL"])).write(event="ready")


app = communicator.celery_app
