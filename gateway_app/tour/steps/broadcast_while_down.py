"""Step 6: a critical broadcast while a subscriber is down."""

from gateway_app.tour.names import ALERT, SERVICE
from gateway_app.tour.stage import Stage, Step, require


def _play(stage: Stage) -> str:
    subscribed = stage.records.subscribes
    stage.eventually("the subscription", lambda: subscribed(SERVICE, ALERT) or None)
    stage.stack.stop(SERVICE)
    message_id = stage.sandbox.manage(
        "bus_broadcast", ALERT, '{"text": "water in the cellar"}', "--priority", "CRITICAL"
    ).strip()
    missing = stage.records.missing
    stage.eventually("the gateway's copies", lambda: missing(message_id) == [SERVICE] or None)
    require(stage.records.effects(ALERT) == 0, "handled by nobody who runs")
    stage.stack.start(SERVICE)
    stage.eventually("the alert", lambda: stage.records.effects(ALERT) or None)
    require(stage.records.effects(ALERT) == 1, f"{stage.records.effects(ALERT)} effects")
    return f"the ledger named {SERVICE} as missing; started again, it handled the alert once"


STEP = Step(
    title="A CRITICAL system.alert while a subscriber is down",
    expected="the ledger says who has not had it; it is delivered when the service is back",
    play=_play,
)
