"""Step 2: a customer asks what a product costs, and whether there is any."""

from gateway_app.tour.stage import Stage, Step, require
from shop.story.customer import Customer
from shop.story.looks import ShopLooks


def _play(stage: Stage[ShopLooks]) -> str:
    customer = Customer(stage)
    mug = customer.look("mug")
    require((mug["cents"], mug["stock"]) == (900, 200), f"answered {mug}")
    require(customer.is_unknown("car"), "there is a car")
    return f"{mug['name']} for {mug['cents']} cents, {mug['stock']} in stock; a car: 404"


STEP: Step[ShopLooks] = Step(
    title="A customer asks the catalogue, which asks the warehouse",
    expected="price and stock of a mug; of what there is not: 404",
    play=_play,
)
