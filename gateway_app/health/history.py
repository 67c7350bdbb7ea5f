"""The history of health: checks added up by minute and hour, and what is too old removed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import QuerySet

from gateway_app.models import HealthRecord, HealthSummary, Resolution
from gateway_app.removing import remove_oldest

#: How long history is kept.
MINUTES_DAYS: Final = 7
HOURS_DAYS: Final = 90
RECORDS_DAYS: Final = 90

_TABLE: Final = HealthSummary._meta.db_table
_ROW: Final = "(%s, %s, %s, %s, %s, %s, %s)"


@dataclass(slots=True)
class Tally:
    """The health checks of one service in one round."""

    checks: int = 0
    failures: int = 0
    seconds_sum: float = 0.0
    seconds_max: float = 0.0

    def add(self, seconds: float | None, *, is_failure: bool) -> None:
        """Count one check.

        Args:
            seconds: until its answer; None: none came.
            is_failure: what it counts as.
        """
        self.checks += 1
        self.failures += is_failure
        if seconds is not None:
            self.seconds_sum += seconds
            self.seconds_max = max(self.seconds_max, seconds)


def add(tallies: Mapping[int, Tally], now: datetime) -> None:
    """Add checks to the summaries of this minute and this hour, in two rows for each service.

    Not safe to repeat. Call it in a transaction in which the services cannot be deleted.

    Args:
        tallies: by primary key of the service.
        now: when the checks were made.
    """
    minute = now.replace(second=0, microsecond=0)
    hour = minute.replace(minute=0)
    rows = [
        (key, resolution.value, at, tally)
        for resolution, at in ((Resolution.MINUTE, minute), (Resolution.HOUR, hour))
        for key, tally in sorted(tallies.items())
        if tally.checks
    ]
    if not rows:
        return
    adapt = connection.ops.adapt_datetimefield_value
    values = [
        value
        for key, resolution, at, tally in rows
        for value in (
            key,
            resolution,
            adapt(at),
            tally.checks,
            tally.failures,
            tally.seconds_sum,
            tally.seconds_max,
        )
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_TABLE} (service_id, resolution, at, checks, failures, seconds_sum,"
            f" seconds_max) VALUES {', '.join([_ROW] * len(rows))}"
            " ON CONFLICT (service_id, resolution, at) DO UPDATE SET"
            f" checks = {_TABLE}.checks + excluded.checks,"
            f" failures = {_TABLE}.failures + excluded.failures,"
            f" seconds_sum = {_TABLE}.seconds_sum + excluded.seconds_sum,"
            f" seconds_max = CASE WHEN excluded.seconds_max > {_TABLE}.seconds_max"
            f" THEN excluded.seconds_max ELSE {_TABLE}.seconds_max END",
            values,
        )


def sweep(now: datetime) -> int:
    """Remove history that is too old, the oldest first; return how many rows went.

    Safe to repeat; what is left when its time is up goes with the next one.
    """
    return sum(remove_oldest(rows) for rows in too_old(now))


def too_old(now: datetime) -> tuple["QuerySet[HealthSummary] | QuerySet[HealthRecord]", ...]:
    """Return what may go, each kind in an order that an index has."""
    summaries = HealthSummary.objects.order_by("at")
    return (
        summaries.filter(resolution=Resolution.MINUTE, at__lt=now - timedelta(days=MINUTES_DAYS)),
        summaries.filter(resolution=Resolution.HOUR, at__lt=now - timedelta(days=HOURS_DAYS)),
        HealthRecord.objects.order_by("at").filter(at__lt=now - timedelta(days=RECORDS_DAYS)),
    )
