"""The story: its steps, and the processes that it is played with."""

from typing import Final

from django.conf import settings

from gateway_app.procfile import ProcfileEntry, read_procfile
from gateway_app.tour.playing import Play
from gateway_app.tour.stage import Step
from shop.story.looks import ShopLooks
from shop.story.steps import (
    ask,
    balance,
    confirmed,
    killed,
    refused,
    silent,
    start,
    unlucky,
    wiped,
)

#: In the order they are played; each may rely on those before it.
STEPS: Final[tuple[Step[ShopLooks], ...]] = (
    start.STEP,
    ask.STEP,
    confirmed.STEP,
    refused.STEP,
    unlucky.STEP,
    killed.STEP,
    silent.STEP,
    wiped.STEP,
    balance.STEP,
)
#: In the place of the same service.
WAREHOUSE: Final = ProcfileEntry("warehouse", "celery -A shop.story.held_warehouse worker")


def story() -> Play[ShopLooks]:
    """Return the story, for the processes of the Procfile."""
    entries = read_procfile(settings.BASE_DIR / "Procfile")
    return Play(
        name="shop",
        title="A shop of five services",
        steps=STEPS,
        entries=[WAREHOUSE if each.name == WAREHOUSE.name else each for each in entries],
        records_at=ShopLooks,
        prepare=lambda _looks: None,
    )
