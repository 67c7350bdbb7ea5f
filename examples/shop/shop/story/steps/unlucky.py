"""Step 5: the payment provider does not answer for a while."""

from gateway_app.tour.stage import Stage, Step, require
from shop.payments.provider import CARD_UNLUCKY, FAILURES
from shop.story.customer import Customer
from shop.story.looks import ShopLooks


def _play(stage: Stage[ShopLooks]) -> str:
    customer, looks = Customer(stage), stage.records
    order = customer.order(CARD_UNLUCKY)
    customer.wait_for([order], "confirmed")
    failures, charges = looks.failures(order), looks.charges(order)
    require((failures, charges) == (FAILURES, [900]), f"{failures} failures, charged {charges}")
    return f"{failures} failed attempts, then confirmed; charged once, {charges[0]} cents"


STEP: Step[ShopLooks] = Step(
    title=f"The payment provider fails {FAILURES} times",
    expected="tried again after pauses that grow, then charged once",
    play=_play,
)
