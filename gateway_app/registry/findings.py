"""What health rounds find out about instances, put on record."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway_app.models import ServiceInstance
from gateway_app.registry.transitions import Step, take_all
from messaging.text import storable

#: Of what is wrong; as much as the columns hold.
MAX_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """What a health round found out about one instance.

    Of each: None where it did not look, empty where all is well, else what is wrong, text for
    people.
    """

    instance_id: str
    #: Of its health endpoint.
    probe_error: str | None = None
    #: Why it counts as wedged.
    wedged: str | None = None


def note_findings(findings: Iterable[Finding], now: datetime) -> None:
    """Put findings on record, and the states that follow from them.

    Every failure of a health endpoint counts, so repeating a call counts it again. Instances that
    have left or are not known are passed over. One query for all of them; writes only where
    something changes.

    Args:
        findings: one for an instance; of two for the same instance the last one counts.
        now: the present.
    """
    pending = {finding.instance_id: finding for finding in findings}
    while pending:  # another turn only for those that somebody else changed meanwhile
        present = ServiceInstance.objects.filter(instance_id__in=pending, left_at=None)
        steps = [_step(instance, pending[instance.instance_id]) for instance in present]
        late = take_all((step for step in steps if step.changes), now)
        pending = {step.instance.instance_id: pending[step.instance.instance_id] for step in late}


def _step(instance: ServiceInstance, finding: Finding) -> Step:
    changes: dict[str, Any] = {}
    healed: list[str] = []
    if finding.probe_error:
        changes["probe_failures"] = instance.probe_failures + 1
        changes["probe_error"] = storable(finding.probe_error)[:MAX_TEXT]
    elif finding.probe_error is not None and instance.probe_failures:
        changes |= {"probe_failures": 0, "probe_error": ""}
        healed.append("health endpoint answers again")
    if finding.wedged is not None:
        wedged = storable(finding.wedged)[:MAX_TEXT]
        if wedged != instance.wedged:
            changes["wedged"] = wedged
            if not wedged:
                healed.append("takes messages again")
    return Step(instance, "; ".join(healed), changes)
