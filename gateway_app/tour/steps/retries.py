"""Step 5: a handler fails, is tried again, is given up; mended, the message is replayed."""

import json

from gateway_app.tour.names import FAULT_FILE, FRAGILE, SERVICE
from gateway_app.tour.stage import Stage, Step, require


def _play(stage: Stage) -> str:
    fault = stage.sandbox.folder / FAULT_FILE
    fault.touch()
    message_id = stage.sandbox.manage("bus_send", SERVICE, FRAGILE, "--priority", "HIGH").strip()
    stage.eventually("the dead letter", lambda: stage.records.is_parked(message_id) or None)
    (letter,) = json.loads(stage.sandbox.manage("bus_dead_letters", "--json", "--id", message_id))
    require(letter["reason"] == "attempts_exhausted", f"parked as {letter['reason']}")
    fault.unlink()
    stage.sandbox.manage("bus_replay", "--id", message_id, "--canary")
    require(stage.records.effects(FRAGILE) == 1, f"{stage.records.effects(FRAGILE)} effects")
    return f"parked after {letter['attempts']} attempts ({letter['error']}); replayed: 1 effect"


STEP = Step(
    title="A failing handler, a dead letter, a replay",
    expected="2 attempts at once, 2 after a pause, parked; replayed once the fault is gone",
    play=_play,
)
