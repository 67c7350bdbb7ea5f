"""What the gateway keeps: services and their instances, health records, dead letters."""

from gateway_app.models.deadletters import AuditRecord, DeadLetter, DeadLetterState
from gateway_app.models.health import HealthRecord, HealthSummary, LastLook, Resolution
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
from gateway_app.models.states import BEST_FIRST, SERVING, State, best_of

__all__ = [
    "BEST_FIRST",
    "SERVING",
    "AuditRecord",
    "DeadLetter",
    "DeadLetterState",
    "HandledType",
    "HealthRecord",
    "HealthSummary",
    "LastLook",
    "Lease",
    "OfferedSet",
    "RegistryStatus",
    "Resolution",
    "Route",
    "Service",
    "ServiceInstance",
    "State",
    "Subscription",
    "best_of",
]
