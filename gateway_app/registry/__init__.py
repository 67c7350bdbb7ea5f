"""The registry: who is there, who is silent, who is gone, and what each service offers.

No HTTP, no messaging. What others call is here; `transitions` is the one way in which an instance
changes, whoever finds a reason for it: `instances` (messages), `sweeping` (time), `findings`
(health rounds), `maintenance` and `forgetting` (operators).
"""

from gateway_app.registry.findings import Finding, note_findings
from gateway_app.registry.instances import (
    Heard,
    Registered,
    announce,
    deregister,
    hear,
    is_down,
    register,
    subscribers_of,
    take_in,
)
from gateway_app.registry.sweeping import sweep

__all__ = [
    "Finding",
    "Heard",
    "Registered",
    "announce",
    "deregister",
    "hear",
    "is_down",
    "note_findings",
    "register",
    "subscribers_of",
    "sweep",
    "take_in",
]
