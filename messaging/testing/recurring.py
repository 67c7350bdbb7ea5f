"""What recurs, in a test: sent by the gateway's stand-in as time passes."""

from collections.abc import Callable
from datetime import UTC, datetime

from messaging.communicator import ServiceCommunicator
from messaging.recurrence import Recurrence

#: Does something when so many seconds have passed.
Later = Callable[[float, Callable[[], None]], None]


class Recurring:
    """Sends what services declare that recurs, once each time.

    Args:
        gateway: in whose name.
        now: the present, seconds since 1970.
        later: see `Later`.
    """

    def __init__(
        self, gateway: ServiceCommunicator, now: Callable[[], float], later: Later
    ) -> None:
        self._gateway = gateway
        self._now = now
        self._later = later

    def of(self, communicator: ServiceCommunicator) -> None:
        """Send what this service declares, from now on."""
        for recurrence in communicator.recurrences():
            self._plan(recurrence)

    def _plan(self, recurrence: Recurrence) -> None:
        now = self._now()
        due_at = recurrence.next_after(datetime.fromtimestamp(now, UTC)).timestamp()
        self._later(due_at - now, lambda: self._send(recurrence))

    def _send(self, recurrence: Recurrence) -> None:
        self._plan(recurrence)
        if recurrence.to:
            self._gateway.send_to_service(
                recurrence.to,
                recurrence.type,
                recurrence.data,
                priority=recurrence.priority,
                expires_in=recurrence.expires_in,
            )
        else:
            self._gateway.broadcast(
                recurrence.type,
                recurrence.data,
                priority=recurrence.priority,
                expires_in=recurrence.expires_in,
            )
