"""Step 9: the books of all services, and the ledger of the bus."""

import json
from typing import Any, Final

from gateway_app.tour.stage import Stage, Step, require
from shop.story.looks import ShopLooks

#: What the broker lost is published again by a timer.
WITHIN_SECONDS: Final = 60.0


def _play(stage: Stage[ShopLooks]) -> str:
    looks = stage.records

    def settled() -> dict[str, int] | None:
        account: dict[str, int] = json.loads(stage.sandbox.manage("bus_account", "--json"))
        return None if account["in_flight"] else account

    stage.eventually("the last e-mails", lambda: looks.unsent_mails() == 0 or None, WITHIN_SECONDS)
    account = stage.eventually("the last receipts", settled, WITHIN_SECONDS)
    require(not account["parked"] and not account["unaccounted"], f"the ledger: {account}")
    # The command fails where something does not fit.
    books: dict[str, Any] = json.loads(stage.sandbox.manage("books"))
    mails = len(looks.mails("Only ")) + books["mails_sent"]
    require(len(looks.mails("To:")) == mails, f"{len(looks.mails('To:'))} e-mails, not {mails}")
    return (
        f"{books['orders']} orders; {books['confirmed_cents']} cents confirmed, captured and "
        f"charged; {books['sent_pieces']} pieces ordered and sent; {mails} e-mails; "
        f"{account['handled']} messages handled, unaccounted {account['unaccounted']}"
    )


STEP: Step[ShopLooks] = Step(
    title="The books",
    expected="orders = payments = stock moved; of no message is it unknown what became of it",
    play=_play,
)
