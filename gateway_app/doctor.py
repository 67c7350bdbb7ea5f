"""Is this installation well? Questions, each with an answer in words and what would help.

Every check is bounded in time and changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Min
from kombu.exceptions import OperationalError

from gateway_app.bus import communicator
from gateway_app.models import RegistryStatus
from gateway_app.ops import figures
from messaging.apps import configured
from messaging.clock import SYSTEM_CLOCK
from messaging.envelope import utc_now
from messaging.errors import BrokerError
from messaging.models import OutboxMessage

#: What is due in the outbox for longer is not being relayed.
LATE_AFTER: Final = timedelta(seconds=60)


class Grade(Enum):
    """How a check went."""

    FINE = "fine"
    #: It works, and something about it should be known.
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    name: str
    grade: Grade
    #: What was seen, or what would help.
    text: str


def examine() -> list[Finding]:
    """Return the outcome of every check; one that fails does not keep the others away."""
    return [finding for check in _CHECKS for finding in check()]


def _broker() -> Iterator[Finding]:
    name = communicator.bus.profile.name
    began = SYSTEM_CLOCK.monotonic()
    try:
        with communicator.bus.connection() as broker:
            broker.ensure_connection(
                max_retries=1,
                interval_start=0.1,
                timeout=configured().broker_timeout_seconds,
            )
            broker.default_channel.close()
    except (BrokerError, OperationalError, OSError) as exc:
        yield Finding("Broker answers", Grade.BROKEN, f"{name}: {exc}")
        return
    took = figures.duration_text(SYSTEM_CLOCK.monotonic() - began)
    yield Finding("Broker answers", Grade.FINE, f"{name}, {took}")


def _database() -> Iterator[Finding]:
    began = SYSTEM_CLOCK.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    took = figures.duration_text(SYSTEM_CLOCK.monotonic() - began)
    yield Finding("Database answers", Grade.FINE, f"{connection.vendor}, {took}")
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        text = f"{figures.plural(len(missing), 'migration')} to apply: manage.py migrate"
        yield Finding("Migrations", Grade.BROKEN, text)
    else:
        yield Finding("Migrations", Grade.FINE, "up to date")


def _schedule() -> Iterator[Finding]:
    now = utc_now()
    status = RegistryStatus.objects.first()
    limit = timedelta(seconds=configured().suspect_seconds)
    swept_at = status.swept_at if status else None
    if swept_at is None or now - swept_at > limit:
        since = f"since {figures.instant(swept_at, now)}" if swept_at else "ever"
        text = (
            f"nobody has looked for silent instances {since}: start celery -A gateway_app worker "
            "and celery -A gateway_app beat"
        )
        yield Finding("Beat and gateway worker", Grade.BROKEN, text)
        return
    ago = figures.duration_text(max(0.0, (now - swept_at).total_seconds()))
    yield Finding("Beat and gateway worker", Grade.FINE, f"looked {ago} ago")


def _relay() -> Iterator[Finding]:
    now = utc_now()
    due_at = OutboxMessage.objects.filter(due_at__lte=now).aggregate(at=Min("due_at"))["at"]
    if due_at is None:
        yield Finding("Outbox is relayed", Grade.FINE, "nothing is late")
        return
    late = figures.duration_text((now - due_at).total_seconds())
    is_late = now - due_at > LATE_AFTER
    text = f"the oldest is due for {late}" + (
        ": start a worker or manage.py bus_relay on this database" if is_late else ""
    )
    yield Finding("Outbox is relayed", Grade.BROKEN if is_late else Grade.FINE, text)


def _mode() -> Iterator[Finding]:
    if settings.DEBUG:
        text = "on: errors are shown to everybody; set DJANGO_DEBUG=0 in production"
        yield Finding("Debug mode", Grade.WARNING, text)
    else:
        yield Finding("Debug mode", Grade.FINE, "off")


_CHECKS: Final[tuple[Callable[[], Iterator[Finding]], ...]] = (
    _broker,
    _database,
    _schedule,
    _relay,
    _mode,
)
