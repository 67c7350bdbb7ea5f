"""What custodians and receivers tell each other: receipts, and questions for them.

Neither is ever under custody: a lost receipt is healed by the message coming again, or by a
question; one that cannot be read is logged and dropped.
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from messaging.envelope import (
    LARGEST_COUNT,
    is_service_name,
    is_storable_id,
    new_message_id,
)
from messaging.errors import DecodeError
from messaging.models import OutboxState
from messaging.signing import CUSTODY, Keyring
from messaging.text import storable
from messaging.wire import PERSISTENT, WireMessage

logger = logging.getLogger(__name__)

RECEIPT: Final = "messaging.receipt"
ASK: Final = "messaging.custody.ask"
#: Entries of one message.
MOST_ENTRIES: Final = 500
#: Nobody waits longer: whoever still wants to know asks.
EXPIRES_SECONDS: Final = 86_400
#: The receiver has forgotten the message, which it does only after its end.
SETTLED: Final = "settled"
#: The receiver has never had the message, or has lost it.
UNKNOWN: Final = "unknown"

OUTCOMES: Final = frozenset(
    {
        OutboxState.ACCEPTED.value,
        OutboxState.HANDLED.value,
        OutboxState.PARKED.value,
        OutboxState.EXPIRED.value,
        SETTLED,
        UNKNOWN,
    }
)


class Entry(NamedTuple):
    """What became of one message at its receiver."""

    message_id: str
    generation: int
    outcome: str
    reason: str = ""


class Receipt(NamedTuple):
    """Entries of one receiver."""

    service: str
    entries: tuple[Entry, ...]


class Question(NamedTuple):
    """One message a custodian asks about."""

    message_id: str
    generation: int
    source: str
    #: When it was said, seconds since 1970: the receiver may have forgotten what is as old.
    created_at: float


class Ask(NamedTuple):
    """A custodian's questions for outcomes."""

    custodian: str
    about: tuple[Question, ...]


def receipt_message(service: str, entries: Sequence[Entry], keyring: Keyring) -> WireMessage:
    """Return the message that tells a custodian what became of messages, signed by the service."""
    data = {"service": service, "entries": [list(entry) for entry in entries]}
    return _message(RECEIPT, data, service, keyring)


def ask_message(custodian: str, questions: Sequence[Question], keyring: Keyring) -> WireMessage:
    """Return the message that asks a receiver what became of messages, signed by the custodian."""
    data = {"custodian": custodian, "about": [list(each) for each in questions]}
    return _message(ASK, data, custodian, keyring)


def read(task: object, body: str | bytes, keyring: Keyring) -> Receipt | Ask:
    """Return what came on a custody queue.

    Raises:
        DecodeError: neither a receipt nor a question.
        BadSignature: not of the service that it is said to be of.
    """
    try:
        ((data,), _, _) = json.loads(body)
        said = _READERS[str(task)](data)
        signature = data.get("signature")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
        raise DecodeError(f"neither receipt nor question: {exc!r}") from exc
    if keyring.has_keys:
        speaker = said.service if isinstance(said, Receipt) else said.custodian
        keyring.check(CUSTODY, data, str(signature or ""), speaker)
    return said


def _read_receipt(data: Any) -> Receipt:
    entries = tuple(
        Entry(_id(a), _generation(b), str(c), storable(str(d))) for a, b, c, d in data["entries"]
    )
    unknown = {entry.outcome for entry in entries} - OUTCOMES
    if unknown:
        raise ValueError(f"unknown outcomes {unknown}")
    return Receipt(_service(data["service"]), entries)


def _read_ask(data: Any) -> Ask:
    about = tuple(
        Question(_id(a), _generation(b), _service(c), float(d)) for a, b, c, d in data["about"]
    )
    return Ask(_service(data["custodian"]), about)


def _id(text: object) -> str:
    if not isinstance(text, str) or not is_storable_id(text):
        raise ValueError(f"not a message id: {text!r:.100}")
    return text


def _generation(number: object) -> int:
    if not isinstance(number, int) or not 0 <= number <= LARGEST_COUNT:
        raise ValueError(f"not a generation: {number!r:.100}")
    return number


def _service(name: object) -> str:
    if not is_service_name(name):
        raise ValueError(f"not a service name: {name!r:.100}")
    return str(name)


_READERS: Final[dict[str, Callable[[Any], Receipt | Ask]]] = {
    RECEIPT: _read_receipt,
    ASK: _read_ask,
}


def _message(name: str, data: dict[str, Any], speaker: str, keyring: Keyring) -> WireMessage:
    if keyring.has_keys:
        data["signature"] = keyring.sign(CUSTODY, data, speaker)
    headers = {"lang": "py", "task": name, "id": new_message_id(), "ignore_result": True}
    properties = {"delivery_mode": PERSISTENT, "expiration": str(EXPIRES_SECONDS * 1000)}
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return WireMessage(json.dumps([[data], {}, embed]), headers, properties, priority=0)
