"""Step 1: everything starts and registers."""

from gateway_app.tour.stage import Step
from gateway_app.tour.steps.start import start_all
from shop.story.looks import ShopLooks

STEP: Step[ShopLooks] = Step(
    title="Gateway, beat and five services start and register",
    expected="the gateway answers, its registry shows every service UP",
    play=start_all,
)
