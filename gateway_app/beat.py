"""The schedule of the gateway: beat says when it is time, a worker of the gateway does it.

Of any number of beats one acts; the others stand by until its lease lapses or is given up.
"""

import logging
import os
import socket
import uuid
from datetime import timedelta
from typing import Any, Final

from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule
from django.db import Error as DatabaseTrouble
from django.db import connection

from gateway_app import leases
from gateway_app.startup import end
from messaging import MessagingConfig, MessagingError
from messaging.clock import SYSTEM_CLOCK, Clock
from messaging.envelope import utc_now
from messaging.refusal import refused_by
from messaging.registration import (
    FLOW_SUMS,
    HEALTH_ROUND,
    QUEUE_LOOK,
    REGISTRY_SWEEP,
    REPLAY_STEP,
)

logger = logging.getLogger(__name__)

#: Pause before an entry that could not be sent is tried again, and of one that stands by between
#: two looks at the lease.
RETRY_SECONDS: Final = 1.0
#: A command expires before the next one of its kind is sent, so that none pile up while no worker
#: of the gateway runs.
LIFETIME: Final = 0.9
#: What is summed up by minute is summed up once a minute.
FLOW_SUMS_SECONDS: Final = 60.0
#: A queue that grows for ten minutes is seen on twenty looks.
QUEUE_LOOK_SECONDS: Final = 30.0
#: Replay runs go on by themselves; this is for those whose worker was killed.
REPLAY_STEP_SECONDS: Final = 5.0
#: What the acting beat has a lease on.
ROLE: Final = "beat"
#: Length of the lease, in heartbeats: as late as an instance may be before it is suspect.
LEASE_HEARTBEATS: Final = 3
#: Due as soon as a beat begins to act: until the first sweep nobody knows whether what the
#: registry says still holds. Other entries have their first interval before them.
AT_ONCE: Final = frozenset({REGISTRY_SWEEP})


def schedule_for(config: MessagingConfig) -> dict[str, dict[str, Any]]:
    """Return Celery's ``beat_schedule``: ``task`` is a message type, sent to the gateway."""
    return {
        message_type: {
            "task": message_type,
            "schedule": seconds,
            "options": {"expires_in": seconds * LIFETIME},
        }
        for message_type, seconds in (
            (REGISTRY_SWEEP, config.heartbeat_seconds),
            (HEALTH_ROUND, config.health_check_seconds),
            (FLOW_SUMS, FLOW_SUMS_SECONDS),
            (QUEUE_LOOK, QUEUE_LOOK_SECONDS),
            (REPLAY_STEP, REPLAY_STEP_SECONDS),
        )
    }


class BusScheduler(Scheduler):
    """Sends the entries of ``beat_schedule`` as commands on the bus, while it has the lease.

    Keeps nothing on disk. Celery's own scheduler counts an entry as run also when it could not be
    sent; here it is tried again every `RETRY_SECONDS` until the broker has it. Intervals are
    measured on the monotonic clock, which does not jump; entries at certain times of the day keep
    Celery's own rule.
    """

    #: Time, for tests to move.
    clock: Clock = SYSTEM_CLOCK

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: Unique to this start.
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:12]}"
        #: When entries with an interval are due, on the monotonic clock, by name.
        self._due_at: dict[str, float] = {}
        #: Whether it had the lease when it last asked; None: it never has asked.
        self._acts: bool | None = None
        #: On the monotonic clock: until then nobody else can have taken the lease.
        self._acts_until = 0.0
        self._is_database_away = False
        self._is_ticking = False
        super().__init__(*args, **kwargs)
        # One that is away is waited for.
        if refused := refused_by(self.app.communicator.bus):
            end(refused)

    def setup_schedule(self) -> None:
        """Read the entries, without Celery's clean-up of results, which nothing here uses."""
        self.merge_inplace(self.app.conf.beat_schedule)

    def tick(self, *_args: Any, **_kwargs: Any) -> float:
        """Send every entry that is due, if this beat acts; return the seconds until the next tick.

        The lease is renewed first, each time: who was stopped for a while does not send before it
        knows that nobody has taken over.
        """
        self._is_ticking = True
        try:
            if not self._has_lease():
                return RETRY_SECONDS
            waits = [self._turn(entry) for entry in list(self.schedule.values())]
        finally:
            self._is_ticking = False
        return min([*waits, self._lease_seconds / LEASE_HEARTBEATS, self.max_interval])

    def is_due(self, entry: ScheduleEntry) -> tuple[bool, float]:
        """Return whether an entry is due, and the seconds until it is again."""
        if not _has_interval(entry):
            is_due, wait_seconds = super().is_due(entry)
            return bool(is_due), float(wait_seconds)
        now = self.clock.monotonic()
        interval = entry.schedule.run_every.total_seconds()
        first = now if entry.task in AT_ONCE else now + interval
        wait_seconds = self._due_at.setdefault(entry.name, first) - now
        return (True, interval) if wait_seconds <= 0 else (False, wait_seconds)

    def close(self) -> None:
        """Give up the lease, so that another beat acts at once, and close the connections."""
        if self._is_ticking:
            # A signal came in the middle of a query, and a connection does one at a time. Celery
            # calls this again on its way out.
            return
        super().close()
        try:
            leases.release(ROLE, self.holder)
        except DatabaseTrouble as exc:
            logger.warning("the lease of this beat could not be given up and will lapse: %s", exc)
        connection.close()
        self.app.communicator.close()

    @property
    def _lease_seconds(self) -> float:
        return float(self.app.communicator.bus.config.heartbeat_seconds * LEASE_HEARTBEATS)

    def _has_lease(self) -> bool:
        """Take or renew the lease; return whether this beat is the one that acts."""
        asked_at = self.clock.monotonic()
        try:
            acts = leases.acquire(ROLE, self.holder, self._lease_seconds, utc_now())
            if acts != self._acts:
                self._take_turns(acts)
        except DatabaseTrouble as exc:
            connection.close()  # it may be the connection that is broken
            if not self._is_database_away:
                logger.warning("nothing is sent while the database does not answer: %s", exc)
            self._is_database_away = True
            return False
        if self._is_database_away:
            logger.warning("the database answers again")
            self._is_database_away = False
        if acts:
            self._acts_until = asked_at + self._lease_seconds
        self._acts = acts
        return acts

    def _take_turns(self, acts: bool) -> None:
        """Begin to act, or to stand by."""
        if acts:
            logger.info("this beat acts (%s)", self.holder)
            self._due_at.clear()
            for entry in self.schedule.values():
                # What came due since the last holder's last sign of life is sent once more rather
                # than never.
                since = timedelta(seconds=self._lease_seconds)
                entry.last_run_at = max(entry.last_run_at, entry.default_now() - since)
        elif self._acts:
            other = leases.holder_of(ROLE)
            logger.warning("another beat has taken over (%s): this one stands by", other)
        else:
            logger.info("another beat acts (%s): this one stands by", leases.holder_of(ROLE))

    def _turn(self, entry: ScheduleEntry) -> float:
        is_due, wait_seconds = self.is_due(entry)
        if not is_due:
            return wait_seconds
        if self.clock.monotonic() >= self._acts_until:
            return 0.0  # stopped or slow since it asked for the lease: it has to ask again
        try:
            self._send(entry)
        except MessagingError as exc:
            logger.warning("%s could not be sent, trying again: %s", entry.task, exc)
            return RETRY_SECONDS
        self.reserve(entry)
        return self._plan(entry, wait_seconds)

    def _plan(self, entry: ScheduleEntry, wait_seconds: float) -> float:
        """Set when an entry is due next; return the seconds until then."""
        if entry.name not in self._due_at:
            return wait_seconds
        now = self.clock.monotonic()
        # In step with the turns before, unless those were missed.
        planned = self._due_at[entry.name] + wait_seconds
        self._due_at[entry.name] = planned if planned > now else now + wait_seconds
        return self._due_at[entry.name] - now

    def _send(self, entry: ScheduleEntry) -> None:
        communicator = self.app.communicator
        communicator.tell(communicator.name, entry.task, entry.kwargs, **entry.options)


def _has_interval(entry: ScheduleEntry) -> bool:
    return type(entry.schedule) is schedule  # crontab and solar are made from it
