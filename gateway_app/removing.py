"""Removing what is too old, a few rows at a time."""

from typing import Any, Final

from django.db.models import QuerySet

from messaging.clock import SYSTEM_CLOCK

#: Rows of one transaction, so that nobody waits for long.
AT_ONCE: Final = 1_000
#: The next sweep goes on after that.
SWEEP_SECONDS: Final = 5.0


def remove_oldest(rows: "QuerySet[Any]", *, at_once: int = AT_ONCE) -> int:
    """Remove rows in their order until none is left or time is up; return how many went.

    With what depends on them. Safe to repeat.

    Args:
        rows: what may go; in an order that an index has.
        at_once: fewer where others depend on them.
    """
    ends_at = SYSTEM_CLOCK.monotonic() + SWEEP_SECONDS
    removed = 0
    while True:
        oldest = list(rows.values_list("pk", flat=True)[:at_once])
        removed += rows.model._default_manager.filter(pk__in=oldest).delete()[0]
        if len(oldest) < at_once or SYSTEM_CLOCK.monotonic() >= ends_at:
            return removed
