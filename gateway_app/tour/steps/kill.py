"""Step 7: a worker is killed in the middle of critical work."""

from typing import Final

from gateway_app.tour.names import COUNT, SERVICE
from gateway_app.tour.stage import Stage, Step, require

MESSAGES: Final = 200
KILLS: Final = 3
#: On Redis some are sent again first.
WITHIN_SECONDS: Final = 60.0


def _play(stage: Stage) -> str:
    stage.stack.stop(SERVICE)
    before = stage.records.effects(COUNT)

    def await_effects(count: int) -> None:
        stage.eventually(
            f"{count} effects",
            lambda: stage.records.effects(COUNT) >= before + count or None,
            WITHIN_SECONDS,
        )

    stage.sandbox.run("-m", "gateway_app.tour.sender", str(MESSAGES))
    for number in range(KILLS):
        stage.stack.start(SERVICE)
        await_effects(MESSAGES * (number + 1) // (KILLS + 2))
        stage.stack.kill(SERVICE)
    stage.stack.start(SERVICE)
    await_effects(MESSAGES)
    effects = stage.records.effects(COUNT) - before
    require(effects == MESSAGES, f"{effects} effects")
    return f"{MESSAGES} messages, {KILLS} kills, {effects} effects"


STEP = Step(
    title=f"The worker killed with -9, {KILLS} times, in the middle of CRITICAL work",
    expected=f"{MESSAGES} messages have {MESSAGES} effects",
    play=_play,
)
