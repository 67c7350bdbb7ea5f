"""Step 6: the warehouse is killed in the middle of reserving."""

from gateway_app.tour.stage import Stage, Step, require
from shop.story.customer import Customer
from shop.story.looks import ShopLooks
from shop.story.names import HELD_FILE, HOLD_FILE


def _play(stage: Stage[ShopLooks]) -> str:
    customer, looks, folder = Customer(stage), stage.records, stage.sandbox.folder
    before = customer.look("poster")
    (folder / HOLD_FILE).touch()
    order = customer.order(sku="poster")
    stage.eventually("the reservation", lambda: (folder / HELD_FILE).exists() or None)
    stage.stack.kill("warehouse")
    (folder / HOLD_FILE).unlink()
    require(looks.reservations(order) == [], "something of it is in the database")
    stage.stack.start("warehouse")
    customer.wait_for([order], "confirmed")
    taken = before["stock"] - customer.look("poster")["stock"]
    reservations = looks.reservations(order)
    require((taken, len(reservations)) == (1, 1), f"{taken} taken, {reservations}")
    return "nothing of the first attempt was left; then 1 reservation, 1 poster, confirmed"


STEP: Step[ShopLooks] = Step(
    title="The warehouse is killed with -9 in the middle of reserving",
    expected="its transaction is gone; started again, it reserves exactly once",
    play=_play,
)
