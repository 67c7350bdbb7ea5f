"""What recurs, in a test: sent as time passes."""

from collections.abc import Callable
from datetime import UTC, datetime

from messaging.communicator import ServiceCommunicator
from messaging.recurrence import Recurrence

#: Does something when so many seconds have passed.
Later = Callable[[float, Callable[[], None]], None]


class Recurring:
    """Sends what services declare that recurs, once each time, as the gateway does.

    Args:
        now: the present, seconds since 1970.
        later: see `Later`.
    """

    def __init__(self, now: Callable[[], float], later: Later) -> None:
        self._now = now
        self._later = later

    def of(self, communicator: ServiceCommunicator) -> None:
        """Send what this service declares, from now on."""
        for recurrence in communicator.recurrences():
            self._plan(communicator, recurrence)

    def _plan(self, communicator: ServiceCommunicator, recurrence: Recurrence) -> None:
        now = self._now()
        due_at = recurrence.next_after(datetime.fromtimestamp(now, UTC)).timestamp()
        self._later(due_at - now, lambda: self._send(communicator, recurrence))

    def _send(self, communicator: ServiceCommunicator, recurrence: Recurrence) -> None:
        self._plan(communicator, recurrence)
        said = recurrence.type, recurrence.data
        options = {"priority": recurrence.priority, "expires_in": recurrence.expires_in}
        if recurrence.to:
            communicator.send_to_service(recurrence.to, *said, **options)  # type: ignore[arg-type]
        else:
            communicator.broadcast(*said, **options)  # type: ignore[arg-type]
