"""Step 8: the broker loses everything it holds."""

from typing import Final

from gateway_app.tour.cleanup import wipe_broker
from gateway_app.tour.names import COUNT, SERVICE
from gateway_app.tour.stage import Stage, Step, require

MESSAGES: Final = 200
#: The promise is 60 s; the relay looks every 5 s.
WITHIN_SECONDS: Final = 60.0


def _play(stage: Stage) -> str:
    stage.stack.stop(SERVICE)
    before = stage.records.effects(COUNT)
    stage.sandbox.run("-m", "gateway_app.tour.sender", str(MESSAGES))
    stage.stack.start(SERVICE)
    stage.eventually(
        "the first effects",
        lambda: stage.records.effects(COUNT) > before + MESSAGES // 10 or None,
    )
    at_wipe = stage.records.effects(COUNT) - before
    wipe_broker(stage)
    stage.eventually(
        "the rest",
        lambda: stage.records.effects(COUNT) >= before + MESSAGES or None,
        WITHIN_SECONDS,
    )
    effects = stage.records.effects(COUNT) - before
    require(effects == MESSAGES, f"{effects} effects")
    return f"wiped after {at_wipe} of {MESSAGES}; {effects} effects in the end"


STEP = Step(
    title="Everything the broker holds is deleted under CRITICAL traffic",
    expected=f"the outbox sends it again: {MESSAGES} messages have {MESSAGES} effects",
    play=_play,
)
