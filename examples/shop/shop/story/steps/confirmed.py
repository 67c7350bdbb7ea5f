"""Step 3: an order goes all the way."""

from gateway_app.tour.stage import Stage, Step, require
from shop.story.customer import Customer
from shop.story.looks import ShopLooks


def _play(stage: Stage[ShopLooks]) -> str:
    customer, looks = Customer(stage), stage.records
    order = customer.order(sku="lamp")
    customer.wait_for([order], "confirmed")
    stage.eventually("the parcel", lambda: looks.reservations(order) == ["sent"] or None)
    lamp = customer.look("lamp")
    require(lamp["stock"] == 2, f"the lamps: {lamp}")
    charges = looks.charges(order)
    require(charges == [4900], f"charged {charges}")
    stage.eventually("the e-mails", lambda: len(looks.mails(order)) == 2 or None)
    stage.eventually("the advice to buy", lambda: looks.mails("Only 2 of lamp left") or None)
    return (
        "confirmed; 3 lamps became 2, 4900 cents are charged, the parcel is sent, the customer "
        "has 2 e-mails, purchasing 1"
    )


STEP: Step[ShopLooks] = Step(
    title="An order over HTTP: POST /api/orders",
    expected="confirmed; stock, money, parcel and e-mails fit",
    play=_play,
)
