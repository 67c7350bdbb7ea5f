"""Messages on record in this database, the newest first, to find one among them."""

from typing import Any, Final

from django.db.models import Max

from gateway_app.ops.question import BadQuestion, Question
from messaging.models import OutboxMessage, OutboxState

#: On one page.
MOST: Final = 50
#: Of the newest: no index serves every choice, and a page may not read a ledger of millions.
SEARCHED: Final = 20_000
#: Parameters of the address, as lookups.
FILTERS: Final = {
    "state": "state",
    "type": "type",
    "service": "target",
    "source": "source",
    "priority": "priority",
}


def messages(asked: Question) -> dict[str, Any]:
    """Return the newest messages that match what was chosen."""
    chosen = {name: asked.parameters[name] for name in FILTERS if asked.parameters.get(name)}
    state = chosen.get("state")
    if state and state not in OutboxState.values:
        raise BadQuestion(f"state must be one of {', '.join(OutboxState.values)}")
    wanted = asked.parameters.get("q", "")
    newest = OutboxMessage.objects.aggregate(newest=Max("pk"))["newest"] or 0
    rows = OutboxMessage.objects.filter(pk__gt=newest - SEARCHED).order_by("-pk")
    rows = rows.filter(**{FILTERS[name]: value for name, value in chosen.items()})
    if wanted:
        rows = rows.filter(type=wanted) | rows.filter(message_id__startswith=wanted)
    return {
        "rows": list(rows.defer("envelope")[:MOST]),
        "states": OutboxState.values,
        "state": state,
        "chosen": {**chosen, **({"search": wanted} if wanted else {})},
        "searched": SEARCHED,
    }
