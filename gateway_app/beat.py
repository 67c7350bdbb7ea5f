"""The schedule of the gateway: beat says when it is time, a worker of the gateway does it."""

import logging
from typing import Any, Final

from celery.beat import ScheduleEntry, Scheduler

from messaging import MessagingConfig, MessagingError
from messaging.registration import HEALTH_ROUND, REGISTRY_SWEEP

logger = logging.getLogger(__name__)

#: Pause before an entry that could not be sent is tried again.
RETRY_SECONDS: Final = 1.0
#: A command expires before the next one of its kind is sent, so that none pile up while no worker
#: of the gateway runs.
LIFETIME: Final = 0.9


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
        )
    }


class BusScheduler(Scheduler):
    """Sends the entries of ``beat_schedule`` as commands on the bus; keeps nothing on disk.

    Celery's own scheduler counts an entry as run also when it could not be sent; here it is tried
    again every `RETRY_SECONDS` until the broker has it.
    """

    def setup_schedule(self) -> None:
        """Read the entries, without Celery's clean-up of results, which nothing here uses."""
        self.merge_inplace(self.app.conf.beat_schedule)

    def tick(self, *_args: Any, **_kwargs: Any) -> float:
        """Send every entry that is due and return the seconds until the next one is."""
        waits = [self._turn(entry) for entry in list(self.schedule.values())]
        return min([*waits, self.max_interval])

    def close(self) -> None:
        """Close the connections of the communicator."""
        super().close()
        self.app.communicator.close()

    def _turn(self, entry: ScheduleEntry) -> float:
        is_due, wait_seconds = self.is_due(entry)
        if is_due:
            try:
                self._send(entry)
            except MessagingError as exc:
                logger.warning("%s could not be sent, trying again: %s", entry.task, exc)
                return RETRY_SECONDS
            self.reserve(entry)
        return float(wait_seconds)

    def _send(self, entry: ScheduleEntry) -> None:
        communicator = self.app.communicator
        communicator.tell(communicator.name, entry.task, entry.kwargs, **entry.options)
