"""One dead letter as a row of a table: what it says, as far as one may see it, and its outcome."""

from typing import Any, Final

from gateway_app.models import DeadLetter, DeadLetterState, ItemOutcome, ReplayRunItem
from gateway_app.ops.question import Question
from gateway_app.redaction import redacted

#: Outcomes whose names are none for people.
_SAID: Final = {"to_go": "next", "parked_again": "parked again"}
#: Of a payload in the table.
_PAYLOAD_LENGTH: Final = 80


def row(
    letter: DeadLetter, item: ReplayRunItem | None, is_running: bool, asked: Question
) -> dict[str, Any]:
    """Return what the table shows of a letter.

    Args:
        letter: with its envelope.
        item: what the newest run did with it; None: nothing.
        is_running: whether that run still is.
        asked: whose rights decide what is shown.
    """
    text, hidden = "", 0
    if letter.envelope is not None:
        shown, hidden = redacted(letter.envelope.get("data"), asked.may_see_payloads)
        text = _short(shown)
    outcome = letter.state
    if (
        item is not None
        and letter.state != DeadLetterState.DISCARDED
        and _goes_on(item, is_running)
    ):
        outcome = item.outcome
    return {
        "letter": letter,
        "id": _short_id(letter.message_id),
        "payload": text,
        "hidden": hidden,
        "outcome": outcome,
        "said": _SAID.get(outcome, outcome),
        "detail": item.detail if item is not None else "",
    }


def _goes_on(item: ReplayRunItem, is_running: bool) -> bool:
    """Return whether an item tells more than its letter: of a run that is over, none is next."""
    return is_running or item.outcome != ItemOutcome.TO_GO


def _short_id(text: str) -> str:
    """Return both ends of an id: those that were made together begin alike."""
    return text if len(text) <= 20 else f"{text[:13]}…{text[-4:]}"


def _short(data: Any) -> str:
    """Return a payload as one line, without the signs that only programs need."""
    if isinstance(data, dict):
        parts = (f"{name}: {_value(value)}" for name, value in list(data.items())[:12])
        text = "{" + ", ".join(parts) + "}"
    else:
        text = _value(data)
    return text if len(text) <= _PAYLOAD_LENGTH else text[: _PAYLOAD_LENGTH - 1] + "…"


def _value(value: Any) -> str:
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return f"{value!r:.60}" if isinstance(value, str) else str(value)[:60]
