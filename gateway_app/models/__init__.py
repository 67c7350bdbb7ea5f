"""What the gateway keeps: services and their instances, health records, dead letters."""

from gateway_app.models.deadletters import (
    AuditRecord,
    DeadLetter,
    DeadLetterNote,
    DeadLetterState,
    ParkedTotal,
)
from gateway_app.models.flow import (
    FlowOverall,
    FlowSample,
    FlowSummary,
    FlowTotal,
    QueueDepth,
    QueueHour,
    QueueLook,
)
from gateway_app.models.health import HealthRecord, HealthSummary, LastLook, Resolution
from gateway_app.models.pauses import QueuePause
from gateway_app.models.recurring import RecurringMessage
from gateway_app.models.registry import (
    HandledType,
    Lease,
    OfferedSet,
    RegistryStatus,
    Route,
    Service,
    ServiceInstance,
    Subscription,
)
from gateway_app.models.replays import ItemOutcome, ReplayRun, ReplayRunItem, RunState
from gateway_app.models.rights import BusRights
from gateway_app.models.states import BEST_FIRST, SERVING, State, best_of
from gateway_app.models.tokens import ApiToken

__all__ = [
    "BEST_FIRST",
    "SERVING",
    "ApiToken",
    "AuditRecord",
    "BusRights",
    "DeadLetter",
    "DeadLetterNote",
    "DeadLetterState",
    "FlowOverall",
    "FlowSample",
    "FlowSummary",
    "FlowTotal",
    "HandledType",
    "HealthRecord",
    "HealthSummary",
    "ItemOutcome",
    "LastLook",
    "Lease",
    "OfferedSet",
    "ParkedTotal",
    "QueueDepth",
    "QueueHour",
    "QueueLook",
    "QueuePause",
    "RecurringMessage",
    "RegistryStatus",
    "ReplayRun",
    "ReplayRunItem",
    "Resolution",
    "Route",
    "RunState",
    "Service",
    "ServiceInstance",
    "State",
    "Subscription",
    "best_of",
]
