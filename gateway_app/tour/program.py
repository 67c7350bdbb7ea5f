"""The tour: its steps, and the processes that it is played with."""

from typing import Final

from django.conf import settings

from gateway_app.procfile import ProcfileEntry, read_procfile
from gateway_app.tour.names import SERVICE
from gateway_app.tour.playing import Play
from gateway_app.tour.records import Records
from gateway_app.tour.stage import Step
from gateway_app.tour.steps import (
    account,
    broadcast,
    broadcast_while_down,
    kill,
    request,
    retries,
    scrape,
    start,
    wipe,
)

#: In the order they are played; each may rely on those before it.
STEPS: Final[tuple[Step, ...]] = (
    start.STEP,
    request.STEP,
    broadcast.STEP,
    scrape.STEP,
    retries.STEP,
    broadcast_while_down.STEP,
    kill.STEP,
    wipe.STEP,
    account.STEP,
)
#: The service that the tour breaks; no part of the system.
VICTIM: Final = ProcfileEntry(SERVICE, "celery -A gateway_app.tour.service worker")

#: Processes of the Procfile that the tour has no use for.
LEFT_OUT: Final = frozenset({"flower"})


def tour() -> Play[Records]:
    """Return the tour of this repository's own processes."""
    entries = read_procfile(settings.BASE_DIR / "Procfile")
    return Play(
        name="demo",
        title="A tour of the message bus",
        steps=STEPS,
        entries=[*(entry for entry in entries if entry.name not in LEFT_OUT), VICTIM],
        records_at=Records,
        prepare=Records.prepare,
    )
