"""What a delivery says beside its envelope."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kombu.message import Message

from messaging.wire import PUBLISHES_HEADER, SENT_AT_HEADER


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How one copy of a message came. Unsigned: nothing that matters is decided by it alone."""

    #: When this copy was put on the broker; None where nobody noted it.
    sent_at: datetime | None = None
    #: How often the sender has published it; 0: sent straight to the broker, once.
    publishes: int = 0
    #: Whether the broker has delivered this copy before.
    redelivered: bool = False


#: Sent straight to the broker, delivered for the first time.
ONLY_COPY: Final = Arrival()


def arrival_of(message: Message) -> Arrival:
    """Return how a message came; what cannot be read is left out."""
    headers, delivery_info = message.headers or {}, message.delivery_info or {}
    publishes = headers.get(PUBLISHES_HEADER)
    redelivered = bool(delivery_info.get("redelivered"))
    if not publishes and not redelivered:
        return ONLY_COPY
    return Arrival(
        sent_at=_instant(headers.get(SENT_AT_HEADER)),
        publishes=publishes if isinstance(publishes, int) else 1,
        redelivered=redelivered,
    )


def _instant(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
