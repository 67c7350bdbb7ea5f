"""What health rounds find out about services, put on record many at a time."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from django.db import connection

from gateway_app.health import history
from gateway_app.health.history import Tally
from gateway_app.health.message_checks import Result
from gateway_app.models import HealthRecord, Service, State
from messaging.database_threads import write_transaction
from messaging.text import storable

#: Services of one transaction: each is a sync of the disk, and holds its rows meanwhile.
BATCH: Final = 100


def keep(
    results: Mapping[str, Result],
    tallies: Mapping[str, Tally],
    *,
    failures_until_down: int,
    now: datetime,
) -> set[str]:
    """Store what a round found out as the last result of each service, and add up its checks.

    A service that did not answer is SUSPECT, and DOWN when that is so for the last so many times.
    A result that says something new is a health record as well. Those that were removed from the
    registry meanwhile are left out. Not safe to repeat: a failure would count twice.

    Args:
        results: by name of the service.
        tallies: the checks that were made, by name of the service.
        failures_until_down: in a row.
        now: when the results came.

    Returns:
        Names of the services of which something new was said.
    """
    changed: set[str] = set()
    names = iter(sorted(results))
    while chunk := list(islice(names, BATCH)):
        with write_transaction():
            # Locked against another round, and against a removal.
            services = list(
                Service.objects.select_for_update(no_key=True)
                .filter(name__in=chunk)
                .only("name", "health_failures", "last_health_json")
                .order_by("pk")
            )
            records = []
            for service in services:
                record = _note(service, results[service.name], failures_until_down, now)
                if record is not None:
                    records.append(record)
                    changed.add(service.name)
            HealthRecord.objects.bulk_create(records)
            _update(services)
            history.add(
                {each.pk: tallies[each.name] for each in services if each.name in tallies}, now
            )
    return changed


def _note(service: Service, result: Result, limit: int, now: datetime) -> HealthRecord | None:
    """Set the fields of a service; return a record of it if it says something new."""
    result, service.health_failures = judged(result, service.health_failures, limit)
    last = service.last_health
    service.last_health_at = now
    service.last_health_json = json.dumps(
        {"state": result.state, "cause": result.cause, "answer": result.answer}
    )
    was, is_up = last.get("state"), result.state is State.UP
    # Busy now and not then is no news: a busy service would fill its history with it.
    if was == result.state and (is_up or last.get("cause") == result.cause):
        return None
    return HealthRecord(
        service=service,
        previous_state=last.get("state", ""),
        state=result.state,
        cause=storable(f"health check: {result.cause}"),
        at=now,
    )


def _update(services: Iterable[Service]) -> None:
    """Write what `_note` has set. Past the ORM: its bulk update takes longer than the checks."""
    at = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {Service._meta.db_table} SET health_failures = %s, last_health_at = %s,"
            " last_health_json = %s WHERE id = %s",
            [
                (each.health_failures, at(each.last_health_at), each.last_health_json, each.pk)
                for each in services
            ],
        )


def judged(result: Result, failures: int, limit: int) -> tuple[Result, int]:
    """Return what a result comes to after so many failures in a row, and how many those are now.

    Args:
        result: of one check.
        failures: in a row, before it.
        limit: so many in a row are DOWN.
    """
    if result.state is State.UNKNOWN:
        return result, failures  # it could not be asked, which says nothing about it
    if not (result.is_check and result.state is State.SUSPECT):
        return result, 0
    failures += 1
    if failures < limit:
        return result, failures
    cause = f"{result.cause}, at least {limit} times in a row"
    return replace(result, state=State.DOWN, cause=cause), failures
