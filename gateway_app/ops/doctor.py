"""The Doctor: what `gateway_app.doctor` finds."""

from typing import Any, Final

from gateway_app.doctor import Grade, examine
from gateway_app.ops.paced import Paced
from gateway_app.ops.question import Question

#: Between two examinations, which send messages through the broker.
EVERY_SECONDS: Final = 15.0
_findings: Final = Paced(examine, EVERY_SECONDS)


def checks(_asked: Question) -> dict[str, Any]:
    """Return every finding by layer, and how many are fine."""
    known = _findings.get()
    if known is None:
        return {"findings": None}
    fine = sum(finding.grade is Grade.FINE for finding in known.value)
    return {"findings": known.value, "fine": fine, "checked_at": known.at}
