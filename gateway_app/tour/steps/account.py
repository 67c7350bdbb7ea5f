"""Step 9: the ledger."""

import json

from gateway_app.tour.stage import Stage, Step, require


def _play(stage: Stage) -> str:
    def balanced() -> dict[str, int] | None:
        account: dict[str, int] = json.loads(stage.sandbox.manage("bus_account", "--json"))
        return account if not account["in_flight"] else None

    account = stage.eventually("the last receipts", balanced)
    double = stage.records.double_effects()
    require(account["unaccounted"] == 0 and double == 0, f"{account}, {double} double effects")
    return (
        f"sent {account['accepted']}, handled {account['handled']}, parked {account['parked']}, "
        f"duplicates of effect {double}, unaccounted {account['unaccounted']}"
    )


STEP = Step(
    title="The ledger",
    expected="every critical message has an end: duplicates of effect 0, unaccounted 0",
    play=_play,
)
