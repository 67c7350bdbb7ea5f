"""Who steps the replay runs: workers of the gateway, one at a time, as long as any run is running.

One message has a worker step them for a second; then it sends the next one. Starting a run sends
the first, and beat sends one every few seconds, for runs whose worker was killed.
"""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from gateway_app import leases
from gateway_app.bus import communicator
from gateway_app.models import ReplayRun
from gateway_app.removing import remove_oldest
from gateway_app.replay_runs import running
from gateway_app.replay_steps import advance, note_outcomes
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import new_message_id, utc_now

#: What the worker at work has a lease on. It keeps others from doing the same looks for nothing;
#: that nothing is replayed twice does not depend on it.
ROLE: Final = "replay-runs"
#: After so long another worker goes on where one was killed.
LEASE_SECONDS: Final = 5.0
#: A handler that runs for longer than this would keep a worker that ends waiting.
SLICE_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.1
#: So long after the end of a run it is still noted what becomes of what it sent.
NOTED_FOR: Final = timedelta(days=1)


def drive() -> bool:
    """Step all runs for `SLICE_SECONDS`, unless another worker does; return if one is running.

    Safe to repeat, and to kill anywhere.

    Raises:
        PublishError, DatabaseError: as `replay_steps.advance`.
    """
    if not (running().exists() or _unsettled().exists()):
        return False
    holder = new_message_id()
    if not leases.acquire(ROLE, holder, LEASE_SECONDS, utc_now()):
        return False
    try:
        for run in _unsettled():
            note_outcomes(run, utc_now())
        return _step_for_a_while(holder)
    finally:
        leases.release(ROLE, holder)


def sweep(now: datetime) -> None:
    """Remove runs that ended more than ``retention_days`` ago. Safe to repeat."""
    until = now - timedelta(days=communicator.bus.config.retention_days)
    remove_oldest(ReplayRun.objects.filter(ended_at__lt=until).order_by("ended_at"), at_once=1)


def _step_for_a_while(holder: str) -> bool:
    ends_at = SYSTEM_CLOCK.monotonic() + SLICE_SECONDS
    while found := list(running().order_by("pk")):
        for run in found:
            if not leases.acquire(ROLE, holder, LEASE_SECONDS, utc_now()):
                return False  # stopped or slow for a while: another one has taken over
            advance(run, utc_now())
        if SYSTEM_CLOCK.monotonic() >= ends_at:
            return True
        SYSTEM_CLOCK.sleep(PAUSE_SECONDS)
    return False


def _unsettled() -> QuerySet[ReplayRun]:
    """Return the runs that are over while something of theirs is still on its way."""
    return ReplayRun.objects.filter(ended_at__gte=utc_now() - NOTED_FOR, sent__gt=0)
