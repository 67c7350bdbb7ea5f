"""Step 8: the broker loses everything it holds, while orders come in."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gateway_app.tour.cleanup import wipe_broker
from gateway_app.tour.stage import Stage, Step
from shop.story.customer import Customer
from shop.story.looks import ShopLooks

ORDERS: Final = 30
#: So many of them are through when it happens.
BEFORE: Final = 3
#: Who order at the same time.
CUSTOMERS: Final = 4


def _play(stage: Stage[ShopLooks]) -> str:
    customer, looks = Customer(stage), stage.records
    before = looks.confirmed_orders()
    with ThreadPoolExecutor(CUSTOMERS) as customers:
        # With `Prefer: respond-async` the gateway keeps the order, whatever the broker does.
        ordering = [customers.submit(customer.order, waits=False) for _ in range(ORDERS)]
        stage.eventually(
            "the first orders", lambda: looks.confirmed_orders() >= before + BEFORE or None
        )
        at_wipe = looks.confirmed_orders() - before
        wipe_broker(stage)
        orders = [each.result() for each in ordering]
    customer.wait_for(orders, "confirmed")
    return f"deleted when {at_wipe} of {ORDERS} were confirmed; {ORDERS} confirmed in the end"


STEP: Step[ShopLooks] = Step(
    title="Everything the broker holds is deleted while orders come in",
    expected=f"what was accepted is in the database: {ORDERS} orders are confirmed",
    play=_play,
)
