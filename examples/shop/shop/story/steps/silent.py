"""Step 7: notifications are down, and nobody misses them."""

from collections.abc import Sequence
from typing import Final

from gateway_app.tour.stage import Stage, Step, require
from shop.story.customer import ENDED_SECONDS, Customer
from shop.story.looks import ShopLooks

ORDERS: Final = 10


def _play(stage: Stage[ShopLooks]) -> str:
    customer, looks = Customer(stage), stage.records
    stage.stack.stop("notifications")
    orders = [customer.order() for _ in range(ORDERS)]
    customer.wait_for(orders, "confirmed")
    early = _mails(looks, orders)
    require(early == 0, f"{early} e-mails by nobody who runs")
    stage.stack.start("notifications")
    due = 2 * ORDERS
    stage.eventually("the e-mails", lambda: _mails(looks, orders) >= due or None, ENDED_SECONDS)
    stage.eventually("the last of them", lambda: looks.unsent_mails() == 0 or None)
    mails = _mails(looks, orders)
    require(mails == due, f"{mails} e-mails")
    return f"{ORDERS} orders confirmed meanwhile; {mails} e-mails once it was back"


def _mails(looks: ShopLooks, orders: Sequence[str]) -> int:
    return sum(len(looks.mails(order)) for order in orders)


STEP: Step[ShopLooks] = Step(
    title=f"Notifications are down during {ORDERS} orders",
    expected="the orders are confirmed all the same; both e-mails of each come later, once",
    play=_play,
)
