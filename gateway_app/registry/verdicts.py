"""What state an instance is in, from everything that is known of it: one pure rule.

Each fact is healed by its own kind of sign alone: silence by a heartbeat, failed probes by one
that succeeds, and so on.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_app.models import ServiceInstance, State
from gateway_app.registry.wording import instant_text

#: Why an instance is DOWN that has said goodbye.
DEREGISTERED: Final = "deregistered"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of an instance."""

    state: State
    #: Text for people; empty where nothing is wrong.
    cause: str = ""


def judge(instance: ServiceInstance, now: datetime, *, probe_failures: int) -> Verdict:
    """Return the state that follows from the facts in a row, and from nothing else.

    Args:
        instance: the facts; its ``state`` is not looked at.
        now: the instant to judge at.
        probe_failures: so many failures of its health endpoint in a row make it DOWN.
    """
    if instance.left_at is not None:
        return Verdict(State.DOWN, DEREGISTERED)
    until = instance.maintenance_until
    if until is not None and now < until:
        return Verdict(State.MAINTENANCE, f"maintenance until {instant_text(until, now)}")
    silence = f"silent for {silent_seconds(instance, now):.0f} s"
    if instance.heard == State.DOWN:
        return Verdict(State.DOWN, silence)
    if instance.probe_failures >= probe_failures:
        times = f"{instance.probe_failures} times in a row"
        return Verdict(State.DOWN, f"health endpoint: {instance.probe_error}, {times}")
    if instance.wedged:
        return Verdict(State.DOWN, f"wedged: {instance.wedged}")
    if instance.heard == State.SUSPECT:
        return Verdict(State.SUSPECT, silence)
    failed = failed_checks(instance)
    if failed:
        return Verdict(State.SUSPECT, failed)
    return Verdict(State.UP)


def silent_seconds(instance: ServiceInstance, now: datetime) -> float:
    """Return how long nothing has been heard of an instance; 0 if the clock has jumped back."""
    return max(0.0, (now - instance.last_seen_at).total_seconds())


def heard_again(instance: ServiceInstance, now: datetime) -> str:
    """Return why an instance is no longer silent, as text for people."""
    return f"heard again after {silent_seconds(instance, now):.0f} s"


def failed_checks(instance: ServiceInstance) -> str:
    """Return which of an instance's own checks fail, as text for people; empty if none does."""
    return "; ".join(
        f"check {name}: {check['text'] or 'failed'}"
        for name, check in instance.checks.items()
        if not check["ok"]
    )
