"""What a service's database keeps of messages: sent, received, and how far back it remembers.

An instant in ``due_at`` says "somebody must look at this row then". It is the only timer there is,
and the lease of whoever is at work on the row. It is empty if and only if the row is at its end;
the database itself refuses anything else, so no row can be forgotten.
"""

from messaging.models.columns import ID_LENGTH, SERVICE_LENGTH, TYPE_LENGTH
from messaging.models.received import (
    UNENDED,
    DedupHorizon,
    FailedRound,
    InboxMessage,
    InboxState,
    SeenRequest,
)
from messaging.models.sent import OPEN, UNDER_WAY, OutboxMessage, OutboxState
from messaging.models.state import BusState, PausedService

__all__ = [
    "ID_LENGTH",
    "OPEN",
    "SERVICE_LENGTH",
    "TYPE_LENGTH",
    "UNDER_WAY",
    "UNENDED",
    "BusState",
    "DedupHorizon",
    "FailedRound",
    "InboxMessage",
    "InboxState",
    "OutboxMessage",
    "OutboxState",
    "PausedService",
    "SeenRequest",
]
