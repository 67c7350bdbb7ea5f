"""Step 4: nobody pays, and what was done is undone."""

from gateway_app.tour.stage import Stage, Step, require
from shop.payments.provider import CARD_REFUSED
from shop.story.customer import Customer
from shop.story.looks import ShopLooks


def _play(stage: Stage[ShopLooks]) -> str:
    customer, looks = Customer(stage), stage.records
    order = customer.order(CARD_REFUSED, sku="lamp")
    answer = customer.wait_for([order], "cancelled")
    stage.eventually("the release", lambda: looks.reservations(order) == ["released"] or None)
    lamp = customer.look("lamp")
    require(lamp["stock"] == 2, f"the lamps: {lamp}")
    require(not looks.charges(order), f"charged {looks.charges(order)}")
    stage.eventually("the e-mail", lambda: looks.mails(f"{order} is cancelled") or None)
    return f"cancelled: {answer['reason']}; 2 lamps as before, nothing charged, customer told"


STEP: Step[ShopLooks] = Step(
    title="The card is refused",
    expected="the order is cancelled, its lamp is back on the shelf, the customer is told",
    play=_play,
)
